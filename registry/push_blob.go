package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

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

// PushBlob makes sure that ref's repository has a blob: it asks (HEAD), then tries to mount it, then sends it, in one
// piece or in chunks ([Client].ChunkSize). An upload that fails is gone on with where the registry says that it stands, or
// begun anew, Retries times, counted anew after each megabyte that was taken; content that cannot be read again
// (io.Seeker) is sent once. An upload that is given up is cancelled at the registry, which takes up to a second after the end of ctx.
// Mirrors are not used.
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
	again, err := newRewinder(b.Content, b.Descriptor.Size)
	if err != nil {
		return "", describe(&e, &q, err)
	}
	u := &upload{client: c, ctx: ctx, endpoint: &e, ref: ref, blob: b, content: again}
	return u.run()
}

// A rewinder hands out content from its byte offset on.
type rewinder func(offset int64) (io.Reader, error)

// newRewinder returns one that begins at content's present position. It goes anywhere when content can seek, and
// otherwise only on from where it stands.
func newRewinder(content io.Reader, size int64) (rewinder, error) {
	if content == nil {
		return func(int64) (io.Reader, error) {
			if size != 0 {
				return nil, refuse("there is no content to send")
			}
			return http.NoBody, nil
		}, nil
	}
	seeker, ok := content.(io.Seeker)
	if !ok {
		counted := &countingReader{r: content}
		return func(offset int64) (io.Reader, error) {
			if counted.n != offset || counted.failed {
				return nil, refuse("the content cannot be read twice")
			}
			return counted, nil
		}, nil
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	return func(offset int64) (io.Reader, error) {
		_, err := seeker.Seek(start+offset, io.SeekStart)
		return content, err
	}, nil
}

// A countingReader counts what was read.
type countingReader struct {
	r      io.Reader
	n      int64
	failed bool
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.failed = c.failed || err != nil && err != io.EOF
	return n, err
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
