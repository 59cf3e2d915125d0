package dockerapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apibuild "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	apiregistry "github.com/moby/moby/api/types/registry"

	"github.com/caisson-engine/caisson/build"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

func (s *Server) buildRoutes() {
	s.handle("POST /build", s.buildImage)
	s.handle("POST /build/prune", s.pruneBuilds)
	s.handle("POST /build/cancel", func(w http.ResponseWriter, _ *http.Request) error { // BuildKit's; a client of ours hangs up
		return failure(http.StatusNotImplemented, "not implemented: cancel of builds")
	})
	s.absent("build by BuildKit", "/session", "/grpc")
}

// A building is a request to build, as it is read.
type building struct {
	server    *Server
	o         build.Options
	host      container.HostConfig
	quiet     bool
	passwords map[string]apiregistry.AuthConfig
}

// A buildField reads one parameter of a request to build.
type buildField func(b *building, q query, name string) error

// buildFields are the parameters. One that is not among them is refused by its name, and so is one that is not implemented, unless it is
// empty.
var buildFields = map[string]buildField{
	"dockerfile": func(b *building, q query, name string) error { b.o.Dockerfile = q.Get(name); return nil },
	"t": func(b *building, q query, name string) error {
		b.o.Tags = slices.DeleteFunc(slices.Clone(q.Values[name]), func(t string) bool { return t == "" })
		return nil
	},
	"q":       func(b *building, q query, name string) error { b.quiet = q.bool(name); return nil },
	"nocache": func(b *building, q query, name string) error { b.o.NoCache = q.bool(name); return nil },
	"pull":    func(b *building, q query, name string) error { b.o.Pull = q.bool(name); return nil },
	"target":  func(b *building, q query, name string) error { b.o.Target = q.Get(name); return nil },
	"platform": func(b *building, q query, name string) error {
		b.o.Platform = strings.ToLower(q.Get(name))
		return nil
	},
	"labels": func(b *building, q query, name string) error { return q.json(name, &b.o.Labels) },
	"buildargs": func(b *building, q query, name string) error {
		given := map[string]*string{}
		if err := q.json(name, &given); err != nil {
			return err
		}
		b.o.Args = map[string]string{}
		for arg, value := range given {
			if value != nil {
				b.o.Args[arg] = *value
			}
		}
		return nil
	},
	"networkmode": func(b *building, q query, name string) error {
		b.host.NetworkMode = container.NetworkMode(q.Get(name))
		return nil
	},
	"extrahosts": func(b *building, q query, name string) error {
		b.host.ExtraHosts = slices.DeleteFunc(slices.Clone(q.Values[name]), func(h string) bool { return h == "" })
		return nil
	},
	"securityopt":  func(b *building, q query, name string) error { return q.json(name, &b.host.SecurityOpt) },
	"cgroupparent": func(b *building, q query, name string) error { b.host.CgroupParent = q.Get(name); return nil },
	"cpusetcpus":   func(b *building, q query, name string) error { b.host.CpusetCpus = q.Get(name); return nil },
	"cpusetmems":   func(b *building, q query, name string) error { b.host.CpusetMems = q.Get(name); return nil },
	"cpushares":    buildNumber(func(b *building) *int64 { return &b.host.CPUShares }),
	"cpuperiod":    buildNumber(func(b *building) *int64 { return &b.host.CPUPeriod }),
	"cpuquota":     buildNumber(func(b *building) *int64 { return &b.host.CPUQuota }),
	"memory":       buildNumber(func(b *building) *int64 { return &b.host.Memory }),
	"memswap":      buildNumber(func(b *building) *int64 { return &b.host.MemorySwap }),
	"shmsize":      buildNumber(func(b *building) *int64 { return &b.host.ShmSize }),
	"ulimits":      func(b *building, q query, name string) error { return q.json(name, &b.host.Ulimits) },
	"version": func(_ *building, q query, name string) error {
		if v := q.Get(name); v != "" && v != string(apibuild.BuilderV1) {
			return notImplemented("version: builds by BuildKit; set DOCKER_BUILDKIT=0")
		}
		return nil
	},
	"isolation": func(_ *building, q query, name string) error {
		if v := q.Get(name); v != "" && v != "default" {
			return notImplemented(name)
		}
		return nil
	},
	// Containers are removed anyway, and a build is cancelled by hanging up.
	"rm": nil, "forcerm": nil, "buildid": nil,
	"cachefrom": buildAbsent, "squash": buildAbsent, "outputs": buildAbsent, "session": buildAbsent, "remote": buildAbsent,
}

// buildAbsent refuses what is not empty.
func buildAbsent(_ *building, q query, name string) error {
	switch strings.TrimSpace(q.Get(name)) {
	case "", "[]", "null", "{}", "0", "false":
		return nil
	}
	return notImplemented(name)
}

func buildNumber(at func(*building) *int64) buildField {
	return func(b *building, q query, name string) error {
		n, err := q.int(name, 0)
		*at(b) = int64(n)
		return err
	}
}

// json reads a parameter of JSON; nothing leaves v as it is.
func (q query) json(name string, v any) error {
	text := q.Get(name)
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return badRequest("invalid %s: %w", name, err)
	}
	return nil
}

// read reads a request's parameters.
func (b *building) read(values url.Values) error {
	q := query{values}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f, known := buildFields[name]
		switch {
		case !known:
			return notImplemented(name)
		case f == nil:
			continue
		}
		if err := f(b, q, name); err != nil {
			return err
		}
	}
	cfg, err := b.server.configOf(&createBody{Config: &container.Config{Image: "build"}, HostConfig: &hostConfig{HostConfig: b.host}})
	if err != nil {
		return err
	}
	b.o.Container = *cfg
	b.o.Container.Image = ""
	return nil
}

// authorize reads the credentials that a request has for registries.
func (b *building) authorize(header string) error {
	if header == "" {
		return nil
	}
	text, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		return badRequest("invalid X-Registry-Config header: no base64")
	}
	if err := json.Unmarshal(text, &b.passwords); err != nil {
		return badRequest("invalid X-Registry-Config header: no JSON of credentials")
	}
	b.o.Credential = b.credential
	return nil
}

// credential is what the registry of an image is shown: what the request has for that host.
func (b *building) credential(ref string) registry.Credential {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return registry.Credential{}
	}
	for host, a := range b.passwords {
		if registry.HostOf(host) != r.Host {
			continue
		}
		if c, err := credentialOf(&a); err == nil {
			return c
		}
	}
	return registry.Credential{}
}

// A buildOutput sends what is written to it.
type buildOutput struct{ m *messages }

func (s buildOutput) Write(p []byte) (int, error) {
	s.m.send(&jsonstream.Message{Stream: string(p)})
	return len(p), nil
}

// buildImage builds an image of the context that is the request's body.
func (s *Server) buildImage(w http.ResponseWriter, r *http.Request) error {
	b := &building{server: s}
	if err := b.read(r.URL.Query()); err != nil {
		return err
	}
	if err := b.authorize(r.Header.Get("X-Registry-Config")); err != nil {
		return err
	}
	m := &messages{w: w}
	if !b.quiet {
		b.o.Output, b.o.Progress = buildOutput{m}, m.event
	}
	img, err := build.Build(r.Context(), s.Engine, build.Tar(r.Body), &b.o)
	var failed *build.RunError
	switch {
	case errors.As(err, &failed):
		m.send(&errorLine{jsonstream.Message{Error: &jsonstream.Error{Code: failed.Code, Message: err.Error()}}, err.Error()})
		return nil
	case errors.Is(err, build.ErrSyntax) || errors.Is(err, registry.ErrInvalidReference):
		err = badRequest("%w", err)
	}
	if err != nil {
		return m.end(err)
	}
	if b.quiet {
		m.send(&jsonstream.Message{Stream: img.ID.String() + "\n"})
	}
	return m.end(m.aux(apibuild.Result{ID: img.ID.String()}))
}

// pruneBuilds deletes the build cache.
func (s *Server) pruneBuilds(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	for _, name := range []string{"keep-storage", "reserved-space", "max-used-space", "min-free-space"} {
		if v := q.Get(name); v != "" && v != "0" {
			return notImplemented(name)
		}
	}
	f, err := q.filters("until", "label", "label!")
	if err != nil {
		return err
	}
	var chosen *image.Filter
	if len(f) > 0 {
		if chosen, err = f.images(); err != nil {
			return err
		}
	}
	removed, err := s.Engine.PruneBuildCache(r.Context(), chosen)
	if err != nil {
		return err
	}
	report := apibuild.CachePruneReport{SpaceReclaimed: uint64(max(removed.Bytes, 0))}
	for _, d := range removed.Images {
		report.CachesDeleted = append(report.CachesDeleted, d.Encoded())
	}
	return writeJSON(w, http.StatusOK, &report)
}
