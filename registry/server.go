package registry

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Defaults of a Server's zero fields.
const (
	DefaultMaxBlobSize  = 64 << 30 // bytes
	DefaultUploadExpiry = 24 * time.Hour
	DefaultBodyTimeout  = time.Minute
)

// The actions that Server.Authorize is asked about.
const (
	ActionPull   = "pull"   // read manifests, blobs, tags, referrers
	ActionPush   = "push"   // write blobs and manifests, and see or cancel an upload
	ActionDelete = "delete" // remove manifests, tags and blobs
)

// A Server is an OCI registry, version 1.1 of the distribution specification, as an http.Handler: serve it at the
// root of its host, for clients expect /v2/ there. The zero value serves from memory to everybody. A Server must not
// be copied or changed after its first request.
type Server struct {
	// Store holds the content. Nil is a MemoryStore of the Server's own. What the store cannot do is answered with
	// UNSUPPORTED.
	Store Store
	// ReadOnly refuses everything that writes.
	ReadOnly bool
	// Authorize decides whether a request may do an action in a repository; both are empty for /v2/ itself. Nil
	// allows everything. A nil error allows; ErrUnauthorized becomes a 401 with Challenge, ErrDenied a 403, an *Error
	// is sent as it is. Mounting a blob asks for the pull of the other repository too.
	Authorize func(r *http.Request, repository, action string) error
	// Challenge is the WWW-Authenticate header of a 401. Empty is `Basic realm="registry"`.
	Challenge string
	// MaxManifestSize bounds a manifest, in bytes. Zero is DefaultMaxManifestSize.
	MaxManifestSize int64
	// MaxBlobSize bounds a blob, in bytes. Zero is DefaultMaxBlobSize.
	MaxBlobSize int64
	// Quota returns how many bytes a repository may hold, blobs and manifests together; 0 or less is no bound. Nil bounds
	// none. The Store must be a UsageReporter. What would be more is refused with a 403, DENIED. Several Servers over one
	// folder may together go beyond it by what they take at the same moment.
	Quota func(repository string) int64
	// BodyTimeout bounds the wait for the next bytes of a request's body. Zero is DefaultBodyTimeout.
	BodyTimeout time.Duration
	// AllowMissing accepts manifests whose blobs or manifests are not in the repository.
	AllowMissing bool
	// Log is told of requests that fail by this side's fault, and at debug level of all others. Nil is silent.
	Log *slog.Logger

	once   sync.Once
	store  Store
	adding sync.Mutex // held while something is added to a repository with a quota
}

func (s *Server) init() {
	s.once.Do(func() {
		if s.store = s.Store; s.store == nil {
			s.store = new(MemoryStore)
		}
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	to, err := parseRoute(r.URL.Path)
	if err == nil {
		err = s.serve(w, r, to)
	}
	if err != nil {
		s.fail(w, r, to, err)
		return
	}
	if s.Log != nil {
		s.Log.DebugContext(r.Context(), "registry request", "method", r.Method, "path", r.URL.Path)
	}
}

// handler answers one method of one route, or returns the error to be sent.
type handler func(s *Server, w http.ResponseWriter, r *http.Request, to route) error

var handlers = map[routeKind]map[string]handler{
	routeBase: {http.MethodGet: (*Server).getBase, http.MethodHead: (*Server).getBase},
	routeBlob: {
		http.MethodGet: (*Server).getBlob, http.MethodHead: (*Server).getBlob,
		http.MethodDelete: (*Server).deleteBlob,
	},
	routeUploads:   {http.MethodPost: (*Server).postUpload},
	routeTags:      {http.MethodGet: (*Server).getTags},
	routeReferrers: {http.MethodGet: (*Server).getReferrers},
	routeUpload: {
		http.MethodGet: (*Server).getUpload, http.MethodPatch: (*Server).patchUpload,
		http.MethodPut: (*Server).putUpload, http.MethodDelete: (*Server).deleteUpload,
	},
	routeManifest: {
		http.MethodGet: (*Server).getManifest, http.MethodHead: (*Server).getManifest,
		http.MethodPut: (*Server).putManifest, http.MethodDelete: (*Server).deleteManifest,
	},
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, to route) error {
	handle, ok := handlers[to.kind][r.Method]
	if !ok {
		return unsupported(r.Method + " is not possible here")
	}
	action := to.action(r.Method)
	if err := s.authorize(r, to.repository, action); err != nil {
		return err
	}
	if s.ReadOnly && action != ActionPull && to.kind != routeBase {
		return unsupported("this registry is read-only")
	}
	return handle(s, w, r, to)
}

func (s *Server) authorize(r *http.Request, repository, action string) error {
	if s.Authorize == nil {
		return nil
	}
	return s.Authorize(r, repository, action)
}

func (s *Server) getBase(w http.ResponseWriter, _ *http.Request, _ route) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write([]byte("{}"))
	return err
}

// ExpireUploads cancels the uploads that have not grown for the given time (zero is DefaultUploadExpiry), and returns
// how many those were. Call it now and then; a Server starts no goroutine of its own. A store that cannot do it is an
// error that satisfies errors.Is(err, errors.ErrUnsupported).
func (s *Server) ExpireUploads(ctx context.Context, age time.Duration) (int, error) {
	s.init()
	remover, ok := s.store.(UploadRemover)
	if !ok {
		return 0, errNotImplemented
	}
	return remover.ExpireUploads(ctx, time.Now().Add(-or(age, DefaultUploadExpiry)))
}
