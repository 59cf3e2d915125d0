package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushManifest puts a manifest or index into ref's repository, under ref's tag, or under its digest when it has no
// tag. The media type is the document's own, or desc's; desc's digest and size, where set, must be content's. What
// the manifest refers to must be in the repository already. Mirrors are not used.
func (c *Client) PushManifest(ctx context.Context, ref Reference, desc ocispec.Descriptor, content []byte) error {
	if err := ref.Validate(); err != nil {
		return err
	}
	e := c.upstream(ref.Host)
	q := request{method: http.MethodPut, subject: ref.Familiar(), scopes: []string{pushScope(ref.Repository)}}
	mediaType, err := mediaTypeOf(desc.MediaType, content)
	if err != nil {
		return describe(&e, &q, err)
	}
	for _, want := range []digest.Digest{ref.Digest, desc.Digest} {
		if want == "" {
			continue
		}
		if err := want.Validate(); err != nil {
			return describe(&e, &q, err)
		}
		if got := want.Algorithm().FromBytes(content); got != want {
			return describe(&e, &q, &DigestError{Subject: "manifest to push", Want: want, Got: got})
		}
	}
	if desc.Size != 0 && desc.Size != int64(len(content)) {
		return describe(&e, &q, refuse("the manifest has %d bytes, its descriptor says %d", len(content), desc.Size))
	}
	q.path = ref.Repository + "/manifests/" + or(ref.Tag, string(ref.Digest))
	q.header = http.Header{"Content-Type": {mediaType}}
	q.size = int64(len(content))
	q.body = func() (io.Reader, error) { return bytes.NewReader(content), nil }
	resp, err := c.do(ctx, &e, &q)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return c.answerError(ctx, &e, &q, resp)
	}
	drain(resp)
	stored := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if stored.Validate() == nil {
		if got := stored.Algorithm().FromBytes(content); got != stored {
			return describe(&e, &q, &DigestError{Subject: "manifest as the registry stored it", Want: got, Got: stored})
		}
	}
	return nil
}

// asError finds a registry's answer in err.
func asError(err error) (*Error, bool) {
	var answer *Error
	ok := errors.As(err, &answer)
	return answer, ok
}
