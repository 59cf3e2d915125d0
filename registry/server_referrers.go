package registry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const maxReferrersPage = 4 << 20 // bytes, as much as clients read of a manifest

// getReferrers lists the manifests about another one.
func (s *Server) getReferrers(w http.ResponseWriter, r *http.Request, to route) error {
	lister, ok := s.store.(ReferrerLister)
	if !ok {
		// This tells clients to fall back to the tag schema.
		return newAnswer(http.StatusNotFound, CodeUnsupported, "this registry does not list referrers")
	}
	all, err := lister.Referrers(r.Context(), to.repository, to.digest)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	h := w.Header()
	if kind := query.Get("artifactType"); kind != "" {
		all = slices.DeleteFunc(slices.Clone(all), func(d ocispec.Descriptor) bool { return d.ArtifactType != kind })
		h.Set("OCI-Filters-Applied", "artifactType")
	}
	if last := query.Get("last"); last != "" {
		i := slices.IndexFunc(all, func(d ocispec.Descriptor) bool { return string(d.Digest) > last })
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	page := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	page.SchemaVersion = 2
	size := 1 << 10
	for _, d := range all {
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if size += len(b) + 1; size > maxReferrersPage && len(page.Manifests) > 0 {
			next := url.Values{"last": {string(page.Manifests[len(page.Manifests)-1].Digest)}}
			if kind := query.Get("artifactType"); kind != "" {
				next.Set("artifactType", kind)
			}
			h.Set("Link", "<"+to.link("referrers", string(to.digest))+"?"+next.Encode()+`>; rel="next"`)
			break
		}
		page.Manifests = append(page.Manifests, d)
	}
	h.Set("Content-Type", ocispec.MediaTypeImageIndex)
	return begin(json.NewEncoder(w).Encode(page))
}
