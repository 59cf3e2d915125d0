package image

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// A blobPart is a blob whose beginning is here.
type blobPart struct {
	desc ocispec.Descriptor
	head *io.SectionReader
}

// openRemote opens a blob of a repository after what is here of it. The reader gives both, and verifies the whole.
func openRemote(ctx context.Context, c *registry.Client, r registry.Reference, b blobPart) (io.ReadCloser, error) {
	if b.head.Size() == 0 {
		return c.Blob(ctx, r, b.desc)
	}
	return c.ResumeBlob(ctx, r, b.desc, b.head)
}

// readRemote reads a small blob of a repository. The client verifies it.
func readRemote(ctx context.Context, c *registry.Client, r registry.Reference, d ocispec.Descriptor) ([]byte, error) {
	body, err := c.Blob(ctx, r, d)
	if err != nil {
		return nil, err
	}
	b, err := readAll(body, d.Size)
	return b, errors.Join(err, body.Close())
}
