package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifest fetches the image manifest or index that ref names and verifies it: by ref's digest when it has one, by
// the digest that the registry claims otherwise. The descriptor has media type, digest and size. More than
// MaxManifestSize bytes, another digest and a document of unclear type are errors; one for a missing manifest
// satisfies errors.Is(err, ErrNotFound).
func (c *Client) Manifest(ctx context.Context, ref Reference) (ocispec.Descriptor, []byte, error) {
	var desc ocispec.Descriptor
	var content []byte
	err := c.each(ctx, ref, func(e *endpoint) (err error) {
		desc, content, err = c.manifest(ctx, e, ref)
		return err
	})
	return desc, content, err
}

// Resolve finds out the descriptor of what ref names without fetching it, where the registry can tell (HEAD). What it
// says is not verified: Manifest does that.
func (c *Client) Resolve(ctx context.Context, ref Reference) (ocispec.Descriptor, error) {
	var desc ocispec.Descriptor
	err := c.each(ctx, ref, func(e *endpoint) (err error) {
		desc, err = c.resolve(ctx, e, ref)
		return err
	})
	return desc, err
}

// each asks the mirrors and then the registry itself until one succeeds. The registry's error counts; what the mirrors
// said is mentioned.
func (c *Client) each(ctx context.Context, ref Reference, ask func(*endpoint) error) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	endpoints, err := c.endpoints(ref.Host)
	if err != nil {
		return err
	}
	var before error
	for i := range endpoints {
		err := ask(&endpoints[i])
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || i == len(endpoints)-1 {
			if before != nil {
				return fmt.Errorf("%w (before it: %v)", err, before)
			}
			return err
		}
		if before == nil {
			before = err
		}
	}
	return before
}

func manifestRequest(method string, ref Reference) *request {
	return &request{
		method: method, path: ref.Repository + "/manifests/" + ref.identifier(),
		header:  http.Header{"Accept": {acceptManifests}},
		subject: ref.Familiar(), scopes: []string{pullScope(ref.Repository)},
	}
}

func pullScope(repository string) string { return "repository:" + repository + ":pull" }
func pushScope(repository string) string { return "repository:" + repository + ":pull,push" }

func (c *Client) manifest(ctx context.Context, e *endpoint, ref Reference) (ocispec.Descriptor, []byte, error) {
	var none ocispec.Descriptor
	q := manifestRequest(http.MethodGet, ref)
	var content []byte
	var resp *http.Response
	for try := 0; ; try++ {
		var err error
		if resp, err = c.do(ctx, e, q); err != nil {
			return none, nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return none, nil, c.answerError(ctx, e, q, resp)
		}
		if content, err = c.readCapped(resp, c.maxManifestSize()); err == nil {
			break
		}
		if ctx.Err() != nil || !isPassing(err) || try >= c.retries() {
			return none, nil, describe(e, q, fmt.Errorf("manifest: %w", err))
		}
		if err := sleep(ctx, c.backoff(try)); err != nil {
			return none, nil, describe(e, q, err)
		}
	}
	desc := ocispec.Descriptor{Size: int64(len(content)), Digest: ref.Digest}
	claimed := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if desc.Digest == "" {
		desc.Digest = digest.FromBytes(content)
		if claimed.Validate() == nil {
			desc.Digest = claimed
		}
	}
	if got := desc.Digest.Algorithm().FromBytes(content); got != desc.Digest {
		return none, nil, describe(e, q, &DigestError{Subject: "manifest", Want: desc.Digest, Got: got})
	}
	var err error
	if desc.MediaType, err = mediaTypeOf(resp.Header.Get("Content-Type"), content); err != nil {
		return none, nil, describe(e, q, err)
	}
	return desc, content, nil
}

// readCapped reads a whole body of at most limit bytes and closes it.
func (c *Client) readCapped(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	tooLong := refuse("the answer is longer than %d bytes", limit)
	if resp.ContentLength > limit {
		return nil, tooLong
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("the answer ends early: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, tooLong
	}
	return b, nil
}

func (c *Client) resolve(ctx context.Context, e *endpoint, ref Reference) (ocispec.Descriptor, error) {
	q := manifestRequest(http.MethodHead, ref)
	resp, err := c.do(ctx, e, q)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if resp.StatusCode == http.StatusMethodNotAllowed {
		drain(resp)
	} else if resp.StatusCode != http.StatusOK {
		return ocispec.Descriptor{}, c.answerError(ctx, e, q, resp)
	} else {
		drain(resp)
		desc := ocispec.Descriptor{
			MediaType: mediaTypeOnly(resp.Header.Get("Content-Type")), Size: resp.ContentLength,
			Digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")),
		}
		known := IsIndex(desc.MediaType) || IsManifest(desc.MediaType)
		if known && desc.Size >= 0 && desc.Digest.Validate() == nil && (ref.Digest == "" || ref.Digest == desc.Digest) {
			return desc, nil
		}
	}
	desc, _, err := c.manifest(ctx, e, ref)
	return desc, err
}
