package testimage

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Store holds images by "repository:tag". It is a store that a registry.Server can serve.
type Store map[string]*Image

// Manifest returns a manifest by tag or digest.
func (s Store) Manifest(_ context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	for name, image := range s {
		r, tag, _ := strings.Cut(name, ":")
		if d := image.Manifest.Descriptor; r == repository && (tag == reference || d.Digest.String() == reference) {
			return d, image.Manifest.Content, nil
		}
	}
	return ocispec.Descriptor{}, nil, fs.ErrNotExist
}

// Blob opens a configuration or a layer.
func (s Store) Blob(_ context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	for name, image := range s {
		if r, _, _ := strings.Cut(name, ":"); r != repository {
			continue
		}
		for _, b := range image.Blobs {
			if b.Descriptor.Digest == d {
				return struct {
					io.ReadSeeker
					io.Closer
				}{bytes.NewReader(b.Content), io.NopCloser(nil)}, nil
			}
		}
	}
	return nil, fs.ErrNotExist
}

// Tags lists the tags of a repository.
func (s Store) Tags(_ context.Context, repository string) ([]string, error) {
	var tags []string
	for name := range s {
		if r, tag, _ := strings.Cut(name, ":"); r == repository {
			tags = append(tags, tag)
		}
	}
	if tags == nil {
		return nil, fs.ErrNotExist
	}
	slices.Sort(tags)
	return tags, nil
}
