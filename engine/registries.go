package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// client returns the engine's client of registries and what is to be called after its use. If cred is not zero the client
// shows it to the registry host, and nothing to others.
func (e *Engine) client(host string, cred registry.Credential) (c *registry.Client, done func()) {
	if e.options.Client != nil && cred.IsZero() {
		return e.options.Client, func() {}
	}
	c = e.clientAs(host, cred)
	return c, c.CloseIdleConnections
}

// clientAs returns a client of its own like the engine's, which shows cred to the registry host, and nothing to others.
func (e *Engine) clientAs(host string, cred registry.Credential) *registry.Client {
	if e.options.Client == nil {
		return (&registry.Client{}).As(host, cred)
	}
	return e.options.Client.As(host, cred)
}

// Login asks a registry, by its host as references name it ("docker.io"), whether it accepts a credential. Nothing is kept.
// Where it does not accept it the error satisfies registry.ErrUnauthorized.
func (e *Engine) Login(ctx context.Context, host string, cred registry.Credential) error {
	c := e.clientAs(host, cred)
	defer c.CloseIdleConnections()
	return c.Ping(ctx, host)
}

// A RemoteImage is what a registry has under a name.
type RemoteImage struct {
	// Descriptor is of the manifest or index: its media type, digest, and size in bytes.
	Descriptor ocispec.Descriptor
	// Document is the manifest or index itself.
	Document []byte
	// Platforms are those of an index, or that of the image.
	Platforms []ocispec.Platform
}

// RemoteImage asks a registry for what it has under a name, without pulling it. cred, if it is not zero, is shown to that
// registry in place of what Options.Client has. Errors are registry's.
func (e *Engine) RemoteImage(ctx context.Context, ref string, cred registry.Credential) (*RemoteImage, error) {
	r, err := registry.ParseReference(ref)
	if err != nil {
		return nil, &Error{Kind: Invalid, Message: ref, Err: err}
	}
	c, done := e.client(r.Host, cred)
	defer done()
	desc, b, err := c.Manifest(ctx, r)
	if err != nil {
		return nil, err
	}
	i := &RemoteImage{Descriptor: desc, Document: b}
	if registry.IsIndex(desc.MediaType) {
		var x ocispec.Index
		if err := json.Unmarshal(b, &x); err != nil {
			return nil, err
		}
		for _, m := range x.Manifests {
			if m.Platform != nil {
				i.Platforms = append(i.Platforms, *m.Platform)
			}
		}
		return i, nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	p, err := configPlatform(ctx, c, r, m.Config)
	if err != nil {
		return nil, err
	}
	if p.OS != "" {
		i.Platforms = []ocispec.Platform{p}
	}
	return i, nil
}

// maxConfig bounds an image's configuration in bytes.
const maxConfig = 8 << 20

// configPlatform reads the platform of an image's configuration; it is zero if that is none.
func configPlatform(ctx context.Context, c *registry.Client, r registry.Reference, d ocispec.Descriptor) (p ocispec.Platform, err error) {
	if d.MediaType != ocispec.MediaTypeImageConfig && d.MediaType != registry.MediaTypeDockerConfig || d.Size > maxConfig {
		return p, nil
	}
	body, err := c.Blob(ctx, r, d) // which verifies it
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	b, err := io.ReadAll(body)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}
