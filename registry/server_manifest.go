package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const maxTagsAtOnce = 100 // of ?tag= in one request

// getManifest answers GET and HEAD of a manifest.
func (s *Server) getManifest(w http.ResponseWriter, r *http.Request, to route) error {
	desc, content, err := s.store.Manifest(r.Context(), to.repository, to.reference())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", desc.MediaType)
	h.Set("Docker-Content-Digest", string(desc.Digest))
	h.Set("ETag", `"`+string(desc.Digest)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return nil
}

func (s *Server) deleteManifest(w http.ResponseWriter, r *http.Request, to route) error {
	deleter, ok := s.store.(Deleter)
	if !ok {
		return unsupported("this registry's store does not delete")
	}
	var err error
	if to.name != "" {
		err = deleter.DeleteTag(r.Context(), to.repository, to.name)
	} else {
		err = deleter.DeleteManifest(r.Context(), to.repository, to.digest)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// putManifest stores a manifest after having looked at what it says.
func (s *Server) putManifest(w http.ResponseWriter, r *http.Request, to route) error {
	putter, ok := s.store.(ManifestPutter)
	if !ok {
		return unsupported("this registry's store takes no manifests")
	}
	limit := or(s.MaxManifestSize, DefaultMaxManifestSize)
	body := s.body(w, r, limit)
	content, err := io.ReadAll(body)
	if err != nil {
		return body.blame(err)
	}
	m, children, err := readManifest(r.Header.Get("Content-Type"), content)
	if err != nil {
		return newAnswer(http.StatusBadRequest, CodeManifestInvalid, err.Error())
	}
	if m.Descriptor.Digest, err = manifestDigest(r, to, content); err != nil {
		return err
	}
	if m.Tags, err = tagsToSet(r, to); err != nil {
		return err
	}
	if !s.AllowMissing {
		if err := s.checkPresent(r.Context(), to.repository, children); err != nil {
			return err
		}
	}
	q := addition{to.repository, m.Descriptor.Size, func() (bool, error) {
		_, _, err := s.store.Manifest(r.Context(), to.repository, string(m.Descriptor.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}}
	if err := s.within(r.Context(), q, func() error {
		return putter.PutManifest(r.Context(), to.repository, m)
	}); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Location", to.link("manifests", string(m.Descriptor.Digest)))
	h.Set("Docker-Content-Digest", string(m.Descriptor.Digest))
	if _, ok := s.store.(ReferrerLister); ok && m.Subject != "" {
		h.Set("OCI-Subject", string(m.Subject))
	}
	if r.URL.Query().Has("tag") {
		h["Oci-Tag"] = m.Tags
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// manifestDigest is the digest that the path or ?digest= asks for, verified, or the canonical one.
func manifestDigest(r *http.Request, to route, content []byte) (digest.Digest, error) {
	want := to.digest
	if s := r.URL.Query().Get("digest"); s != "" && want == "" {
		var err error
		if want, err = parseDigest(s); err != nil {
			return "", err
		}
	}
	if want == "" {
		return digest.FromBytes(content), nil
	}
	if got := want.Algorithm().FromBytes(content); got != want {
		return "", &DigestError{Subject: "manifest", Want: want, Got: got}
	}
	return want, nil
}

func tagsToSet(r *http.Request, to route) ([]string, error) {
	if to.name != "" {
		return []string{to.name}, nil
	}
	tags := r.URL.Query()["tag"]
	if len(tags) > maxTagsAtOnce {
		return nil, newAnswer(http.StatusRequestURITooLong, CodeUnsupported, "too many tags at once")
	}
	for _, tag := range tags {
		if !validTag(tag) {
			return nil, newAnswer(http.StatusBadRequest, CodeManifestInvalid, "invalid tag")
		}
	}
	return tags, nil
}

// A child is what a manifest refers to.
type child struct {
	ocispec.Descriptor
	manifest bool // it should be a manifest, not a blob
}

// readManifest checks a manifest and returns what it refers to, layers that are not to be distributed left out.
func readManifest(contentType string, content []byte) (*StoredManifest, []child, error) {
	mediaType, err := mediaTypeOf(contentType, content)
	if err != nil {
		return nil, nil, err
	}
	var doc struct {
		SchemaVersion int                  `json:"schemaVersion"`
		ArtifactType  string               `json:"artifactType"`
		Config        *ocispec.Descriptor  `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
		Subject       *ocispec.Descriptor  `json:"subject"`
		Annotations   map[string]string    `json:"annotations"`
	}
	if err := json.Unmarshal(content, &doc); err != nil {
		return nil, nil, fmt.Errorf("manifest: %w", err)
	}
	if doc.SchemaVersion != 2 {
		return nil, nil, errors.New("manifest: schemaVersion is not 2")
	}
	m := &StoredManifest{Content: content, Descriptor: ocispec.Descriptor{
		MediaType: mediaType, Size: int64(len(content)), ArtifactType: doc.ArtifactType, Annotations: doc.Annotations,
	}}
	var children []child
	if IsManifest(mediaType) {
		if doc.Config == nil {
			return nil, nil, errors.New("manifest: it has no config")
		}
		if m.Descriptor.ArtifactType == "" {
			m.Descriptor.ArtifactType = doc.Config.MediaType
		}
		children = append(children, child{*doc.Config, false})
	}
	for _, d := range doc.Layers {
		if !isForeignLayer(d.MediaType) {
			children = append(children, child{d, false})
		}
	}
	for _, d := range doc.Manifests {
		children = append(children, child{d, true})
	}
	for _, c := range children {
		if err := c.Digest.Validate(); err != nil || c.Size < 0 {
			return nil, nil, fmt.Errorf("manifest: it refers to something by digest %q and size %d",
				printable(string(c.Digest)), c.Size)
		}
	}
	if doc.Subject != nil {
		if err := doc.Subject.Digest.Validate(); err != nil {
			return nil, nil, fmt.Errorf("manifest: its subject has digest %q", printable(string(doc.Subject.Digest)))
		}
		m.Subject = doc.Subject.Digest
	}
	return m, children, nil
}

// isForeignLayer says whether a layer is one that registries need not have.
func isForeignLayer(mediaType string) bool {
	switch mediaType {
	case MediaTypeDockerForeignLayer, "application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return false
}

// checkPresent makes sure that what a manifest refers to is in its repository, with the size that it says.
func (s *Server) checkPresent(ctx context.Context, repository string, children []child) error {
	for _, c := range children {
		size, err := s.sizeOf(ctx, repository, c)
		if errors.Is(err, fs.ErrNotExist) {
			detail, _ := json.Marshal(map[string]string{"digest": string(c.Digest)})
			return &Error{
				Status: http.StatusNotFound, Code: CodeManifestBlobUnknown, Detail: detail,
				Message: "the manifest refers to " + string(c.Digest) + ", which is not in this repository",
			}
		}
		if err != nil {
			return err
		}
		if size != c.Size {
			return &Error{
				Status: http.StatusBadRequest, Code: CodeManifestInvalid,
				Message: fmt.Sprintf("the manifest gives %s a size of %d bytes, it has %d", c.Digest, c.Size, size),
			}
		}
	}
	return nil
}

// sizeOf looks a child up. Build caches list blobs among an index's manifests.
func (s *Server) sizeOf(ctx context.Context, repository string, c child) (int64, error) {
	if c.manifest {
		desc, _, err := s.store.Manifest(ctx, repository, string(c.Digest))
		if !errors.Is(err, fs.ErrNotExist) {
			return desc.Size, err
		}
	}
	blob, err := s.store.Blob(ctx, repository, c.Digest)
	if err != nil {
		return 0, err
	}
	size, err := blob.Seek(0, io.SeekEnd)
	return size, errors.Join(err, blob.Close())
}
