package dockerapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/image"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

func (s *Server) imageRoutes() {
	s.handle("GET /images/json", s.listImages)
	s.handle("POST /images/create", s.createImage)
	s.handle("POST /images/prune", s.pruneImages)
	s.handle("GET /images/get", s.saveImages)
	s.handle("POST /images/load", s.loadImages)
	s.handle("POST /commit", s.commit)
	// An image's name has slashes.
	s.byName("GET", map[string]namedHandler{"json": s.inspectImage, "history": s.imageHistory, "get": s.saveImage})
	s.byName("POST", map[string]namedHandler{"push": s.pushImage, "tag": s.tagImage})
	s.handle("DELETE /images/{name...}", s.removeImage)
	s.registryRoutes()
	s.buildRoutes()
}

// A namedHandler is a handler of an image's endpoint.
type namedHandler func(w http.ResponseWriter, r *http.Request, name string) error

// byName has requests of /images/NAME/VERB answered by the verb's handler.
func (s *Server) byName(method string, verbs map[string]namedHandler) {
	s.handle(method+" /images/{rest...}", func(w http.ResponseWriter, r *http.Request) error {
		rest := r.PathValue("rest")
		i := strings.LastIndexByte(rest, '/')
		h := verbs[rest[i+1:]]
		if i <= 0 || h == nil {
			return errNoPage
		}
		return h(w, r, rest[:i])
	})
}

// tagImage gives an image another name.
func (s *Server) tagImage(w http.ResponseWriter, r *http.Request, name string) error {
	q := queryOf(r)
	to, err := q.repoTag()
	if err != nil {
		return err
	}
	if to == "" {
		return badRequest("invalid reference format: repo is empty")
	}
	if err := s.Engine.Tag(r.Context(), name, to); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// repoTag puts the parameters repo and tag together; without repo it is empty.
func (q query) repoTag() (string, error) {
	repo, tag := q.Get("repo"), q.Get("tag")
	if repo == "" {
		return "", nil
	}
	name := repo
	if tag != "" {
		if named(repo) {
			return "", badRequest("refusing to create a tag: %s has a tag or a digest already", repo)
		}
		name += ":" + tag
	}
	ref, err := registry.ParseReference(name)
	if err != nil {
		return "", err
	}
	if ref.Digest != "" {
		return "", badRequest("refusing to create a tag with a digest reference")
	}
	return name, nil
}

// named says whether a reference has a tag or a digest.
func named(ref string) bool {
	return strings.ContainsAny(ref[strings.LastIndexByte(ref, '/')+1:], ":@")
}

// removeImage takes a name from an image, and the image away when it was the last. There are no images without a name that are another's
// parents, so noprune has nothing to keep.
func (s *Server) removeImage(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	name := r.PathValue("name")
	if strings.TrimSpace(name) == "" {
		return badRequest("image name cannot be blank")
	}
	if len(q.Values["platforms"]) > 0 && versionOf(r) >= mustVersion("1.50") {
		return notImplemented("platforms")
	}
	removed, err := s.Engine.RemoveImage(r.Context(), name, &engine.RemoveImageOptions{Force: q.bool("force")})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deleted(removed.Untagged, removed.Deleted))
}

// deleted is what was removed, in Docker's form.
func deleted[D ~string](untagged []string, gone []D) []image.DeleteResponse {
	list := []image.DeleteResponse{}
	for _, n := range untagged {
		list = append(list, image.DeleteResponse{Untagged: registry.Familiar(n)})
	}
	for _, d := range gone {
		list = append(list, image.DeleteResponse{Deleted: string(d)})
	}
	return list
}

// pruneImages deletes images that have no name or, with the filter dangling=false, that no container uses.
func (s *Server) pruneImages(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("dangling", "label", "label!", "until")
	if err != nil {
		return err
	}
	if len(f["dangling"]) > 1 || len(f["until"]) > 1 {
		return badRequest("more than one dangling or until filter specified")
	}
	filter, err := f.images()
	if err != nil {
		return err
	}
	all := filter.Dangling != nil && !*filter.Dangling
	filter.Dangling = nil
	removed, err := s.Engine.PruneImages(r.Context(), all, filter)
	if err != nil {
		return err
	}
	report := &image.PruneReport{ImagesDeleted: deleted(removed.Untagged, removed.Deleted), SpaceReclaimed: uint64(max(0, removed.Bytes))}
	return writeJSON(w, http.StatusOK, report)
}

// imageHistory says how an image was made.
func (s *Server) imageHistory(w http.ResponseWriter, r *http.Request, name string) error {
	platform, err := queryOf(r).platform(r, "1.48")
	if err != nil {
		return err
	}
	img, err := s.Engine.ImageFor(r.Context(), name, platform)
	if err != nil {
		return err
	}
	list := []image.HistoryResponseItem{}
	for _, h := range img.History() {
		item := image.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment, Size: h.Size}
		if !h.Created.IsZero() {
			item.Created = h.Created.Unix()
		}
		if h.ID != "" {
			item.ID = h.ID.String()
			item.Tags, _ = namesOf(img.Names, img.Digest)
		}
		list = append(list, item)
	}
	return writeJSON(w, http.StatusOK, list)
}

// namesOf are an image's names with tags, and those by its digest.
func namesOf[D ~string](names []string, digest D) (tags, digests []string) {
	tags, digests = []string{}, []string{}
	for _, n := range names {
		r, err := registry.ParseReference(n)
		if err != nil {
			continue
		}
		if r.Tag != "" {
			tags = append(tags, r.FamiliarName()+":"+r.Tag)
		}
		if by := r.FamiliarName() + "@" + string(digest); !slices.Contains(digests, by) {
			digests = append(digests, by)
		}
	}
	return tags, digests
}
