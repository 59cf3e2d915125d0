package engine

import (
	"bytes"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/caisson-engine/caisson/internal/helloworld"
	"github.com/caisson-engine/caisson/registry"
)

const helloWorld = "docker.io/library/hello-world:latest"

// Carried says whether a pull of ref is answered by the small registry that the engine carries.
func (e *Engine) Carried(ref string) bool {
	r, err := registry.ParseReference(ref)
	return err == nil && e.carried(r)
}

func (e *Engine) carried(r registry.Reference) bool {
	return !e.options.NoHelloWorld && r.String() == helloWorld
}

// serveHelloWorld starts the carried registry on the loopback address and returns a client that asks it first for Docker
// Hub's images. It serves hello-world alone, until stop is called.
func (e *Engine) serveHelloWorld() (_ *registry.Client, stop func(), err error) {
	store, err := helloWorldStore()
	if err != nil {
		return nil, nil, fmt.Errorf("hello-world's registry: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("hello-world's registry: %w", err)
	}
	server := &http.Server{Handler: &registry.Server{Store: store}, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.log.Warn("hello-world's registry", "error", err)
		}
	}()
	client := e.clientAs("", registry.Credential{})
	if o := e.options.Client; o != nil {
		client.Credentials = o.Credentials
	}
	client.Mirrors = map[string][]string{"docker.io": {"http://" + l.Addr().String()}}
	return client, func() {
		_ = server.Close()
		<-done
	}, nil
}

// helloWorldRegistry is a registry.Store that holds one image.
type helloWorldRegistry struct{ image *helloworld.Image }

func helloWorldStore() (registry.Store, error) {
	img, err := helloworld.New()
	if err != nil {
		return nil, err
	}
	return &helloWorldRegistry{img}, nil
}

func (h *helloWorldRegistry) find(repository string, among []helloworld.Content, name string) (helloworld.Content, error) {
	if repository == "library/hello-world" {
		for _, c := range among {
			if c.Descriptor.Digest.String() == name {
				return c, nil
			}
		}
	}
	return helloworld.Content{}, registry.ErrNotFound
}

func (h *helloWorldRegistry) Manifest(_ context.Context, repository, name string) (ocispec.Descriptor, []byte, error) {
	if name == "latest" {
		name = h.image.Index.Descriptor.Digest.String()
	}
	c, err := h.find(repository, append([]helloworld.Content{h.image.Index}, h.image.Manifests...), name)
	return c.Descriptor, c.Bytes, err
}

func (h *helloWorldRegistry) Blob(_ context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	c, err := h.find(repository, h.image.Blobs, d.String())
	if err != nil {
		return nil, err
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(c.Bytes), io.NopCloser(nil)}, nil
}

func (h *helloWorldRegistry) Tags(_ context.Context, repository string) ([]string, error) {
	if repository != "library/hello-world" {
		return nil, registry.ErrNotFound
	}
	return []string{"latest"}, nil
}
