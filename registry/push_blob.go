package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A BlobUpload is a blob to be pushed.
type BlobUpload struct {
	// Descriptor says the digest and size of Content.
	Descriptor ocispec.Descriptor
	// Content is read from where it stands, only when the registry does not have the blob. When it is an io.Seeker
	// too, a broken upload is tried again from there; otherwise once. It is not touched after the return. Nil is fine
	// where the registry has the blob, or for an empty one.
	Content io.Reader
	// MountFrom names a repository of the same registry that may have the blob already. Empty is none.
	MountFrom string
}

// A BlobOutcome says how a blob came to be in a repository.
type BlobOutcome string

// The values of BlobOutcome.
const (
	BlobExists   BlobOutcome = "exists"   // it was there
	BlobMounted  BlobOutcome = "mounted"  // it was taken from MountFrom
	BlobUploaded BlobOutcome = "uploaded" // it was sent
)

// PushBlob makes sure that ref's repository has a blob: it asks (HEAD), then tries to mount it, then sends it in one
// piece. An upload that fails is tried again Retries times when its content can be read again. Mirrors are not used.
func (c *Client) PushBlob(ctx context.Context, ref Reference, b BlobUpload) (BlobOutcome, error) {
	ref.Tag, ref.Digest = "", b.Descriptor.Digest
	if err := ref.Validate(); err != nil {
		return "", err
	}
	if b.MountFrom != "" && !validRepository(b.MountFrom) {
		return "", fmt.Errorf("%w: repository name %q", ErrInvalidReference, b.MountFrom)
	}
	e := c.upstream(ref.Host)
	q := request{
		method: http.MethodHead, path: ref.Repository + "/blobs/" + string(b.Descriptor.Digest),
		subject: "blob " + string(b.Descriptor.Digest) + " of " + ref.FamiliarName(),
		scopes:  []string{pushScope(ref.Repository)},
	}
	resp, err := c.do(ctx, &e, &q)
	if err != nil {
		return "", err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		drain(resp)
		return BlobExists, nil
	case http.StatusNotFound:
		drain(resp)
	default:
		return "", c.answerError(ctx, &e, &q, resp)
	}
	again, err := rewinder(b.Content, b.Descriptor.Size)
	if err != nil {
		return "", describe(&e, &q, err)
	}
	for try := 0; ; try++ {
		outcome, err := c.upload(ctx, &e, ref, &source{b, again})
		if err == nil || ctx.Err() != nil || try >= c.retries() || !isPassing(err) || !mayHelp(err) {
			return outcome, err
		}
		if _, seekable := b.Content.(io.Seeker); !seekable {
			return outcome, err
		}
		if err := sleep(ctx, c.backoff(try)); err != nil {
			return "", describe(&e, &q, err)
		}
	}
}

// mayHelp says whether trying an upload again may help: not after the registry's considered refusal.
func mayHelp(err error) bool {
	answer, ok := asError(err)
	return !ok || worthRetrying(answer.Status)
}

// rewinder returns a function that hands out content from its present position, every time when it can seek, else once.
func rewinder(content io.Reader, size int64) (func() (io.Reader, error), error) {
	if content == nil {
		return func() (io.Reader, error) {
			if size != 0 {
				return nil, refuse("there is no content to send")
			}
			return http.NoBody, nil
		}, nil
	}
	seeker, ok := content.(io.Seeker)
	if !ok {
		used := false
		return func() (io.Reader, error) {
			if used {
				return nil, refuse("the content cannot be read twice")
			}
			used = true
			return content, nil
		}, nil
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	return func() (io.Reader, error) {
		_, err := seeker.Seek(start, io.SeekStart)
		return content, err
	}, nil
}

// A source is a blob to be pushed whose content can be asked for.
type source struct {
	BlobUpload
	again func() (io.Reader, error)
}

// upload opens a session, or mounts, and sends the blob in one piece.
func (c *Client) upload(ctx context.Context, e *endpoint, ref Reference, b *source) (BlobOutcome, error) {
	q := request{
		method: http.MethodPost, path: ref.Repository + "/blobs/uploads/",
		subject: "upload of blob " + string(ref.Digest) + " to " + ref.FamiliarName(),
		scopes:  []string{pushScope(ref.Repository)},
	}
	if b.MountFrom != "" {
		q.query = url.Values{"mount": {string(ref.Digest)}, "from": {b.MountFrom}}
		q.scopes = append(q.scopes, pullScope(b.MountFrom))
	} else if a := ref.Digest.Algorithm(); a != digest.Canonical {
		q.query = url.Values{"digest-algorithm": {string(a)}}
	}
	resp, err := c.do(ctx, e, &q)
	if err != nil {
		return "", err
	}
	switch resp.StatusCode {
	case http.StatusCreated:
		drain(resp)
		return BlobMounted, nil
	case http.StatusAccepted:
		drain(resp)
	default:
		return "", c.answerError(ctx, e, &q, resp)
	}
	location, err := uploadLocation(resp)
	if err != nil {
		return "", describe(e, &q, err)
	}
	values := location.Query()
	values.Set("digest", string(ref.Digest))
	location.RawQuery = values.Encode()
	q.method, q.address, q.once = http.MethodPut, location, true
	q.body, q.size = b.again, b.Descriptor.Size
	q.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if resp, err = c.do(ctx, e, &q); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusCreated {
		return "", c.answerError(ctx, e, &q, resp)
	}
	drain(resp)
	return BlobUploaded, nil
}

// uploadLocation reads where an upload is to go. It may be another origin, which then gets no credential; it may not
// leave HTTPS.
func uploadLocation(resp *http.Response) (*url.URL, error) {
	u, err := resp.Location()
	if err != nil {
		return nil, refuse("the registry does not say where to upload to: %w", err)
	}
	if u.Scheme == "http" && resp.Request.URL.Scheme == "https" && u.Host == resp.Request.URL.Host {
		u.Scheme = "https" // a registry behind a proxy that it does not know of
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Scheme == "http" && resp.Request.URL.Scheme == "https" {
		return nil, refuse("the registry wants the upload to go to %s://%s: refused",
			printable(u.Scheme), printable(u.Host))
	}
	u.User = nil
	return u, nil
}
