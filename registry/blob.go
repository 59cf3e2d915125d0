package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const resumeProgress = 1 << 20 // bytes after which a blob's tries are counted anew

// Blob opens the blob that desc describes by digest and size, in ref's repository. The reader verifies both: its last
// Read returns io.EOF only when they are right, otherwise a *DigestError or an error that gives both sizes. A
// connection that breaks or stalls is made anew where it broke (Range), Retries times, at the next mirror or the
// registry itself if need be. A large blob that comes slower than it is read is fetched by [Client].Ranges connections,
// which takes 1 MiB of memory for each and two more. Ctx bounds the reading too. The caller closes the reader.
func (c *Client) Blob(ctx context.Context, ref Reference, desc ocispec.Descriptor) (io.ReadCloser, error) {
	b, err := c.newBlobReader(ctx, ref, desc)
	if err != nil {
		return nil, err
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// ResumeBlob is Blob for a blob whose beginning is here. The reader gives head first, to its end, then what the
// registry has after it (Range), and verifies both together; the registry is not asked before head is read.
func (c *Client) ResumeBlob(
	ctx context.Context, ref Reference, desc ocispec.Descriptor, head io.Reader,
) (io.ReadCloser, error) {
	b, err := c.newBlobReader(ctx, ref, desc)
	if err != nil {
		return nil, err
	}
	b.head = head
	return b, nil
}

func (c *Client) newBlobReader(ctx context.Context, ref Reference, desc ocispec.Descriptor) (*blobReader, error) {
	ref.Tag, ref.Digest = "", desc.Digest
	if err := ref.Validate(); err != nil {
		return nil, err
	}
	if desc.Size < 0 {
		return nil, fmt.Errorf("blob %s of %s: size %d is negative", desc.Digest, ref.FamiliarName(), desc.Size)
	}
	endpoints, err := c.endpoints(ref.Host)
	if err != nil {
		return nil, err
	}
	return &blobReader{
		client: c, ctx: ctx, desc: desc, endpoints: endpoints, hash: desc.Digest.Algorithm().Hash(),
		request: request{
			method: http.MethodGet, path: ref.Repository + "/blobs/" + string(desc.Digest),
			subject: "blob " + string(desc.Digest) + " of " + ref.FamiliarName(),
			scopes:  []string{pullScope(ref.Repository)},
		},
	}, nil
}

// A blobReader is a blob on its way here.
type blobReader struct {
	client    *Client
	ctx       context.Context
	desc      ocispec.Descriptor
	request   request
	endpoints []endpoint // what is left to ask, the current one first
	hash      hash.Hash
	head      io.Reader     // what is here, nil when it was read
	body      io.ReadCloser // nil between two connections
	n         int64         // bytes handed out
	tries     int           // broken connections since mark
	mark      int64         // n when tries was last set to zero
	pace      pace          // of the connection
	ranged    bool          // several connections were tried
	err       error         // what every further Read returns
}

// open connects at offset n, at the next endpoint when this one does not have it.
func (b *blobReader) open() error {
	for {
		err := b.openAt(&b.endpoints[0])
		if err == nil || b.ctx.Err() != nil || len(b.endpoints) == 1 {
			return err
		}
		b.endpoints = b.endpoints[1:]
		b.tries = 0
	}
}

func (b *blobReader) openAt(e *endpoint) error {
	q := b.request
	if b.n > 0 {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", b.n)}}
	}
	resp, err := b.client.do(b.ctx, e, &q)
	if err != nil {
		return err
	}
	rest := b.desc.Size - b.n
	switch {
	case resp.StatusCode == http.StatusPartialContent && b.n > 0:
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.n)) {
			_ = resp.Body.Close()
			got := printable(resp.Header.Get("Content-Range"))
			return describe(e, &q, refuse("asked for the bytes from %d on, got %q", b.n, got))
		}
	case resp.StatusCode == http.StatusOK:
		rest = b.desc.Size
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		_ = resp.Body.Close()
		return describe(e, &q, refuse("the blob ends at byte %d, its size should be %d", b.n, b.desc.Size))
	default:
		return b.client.answerError(b.ctx, e, &q, resp)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != rest {
		_ = resp.Body.Close()
		return describe(e, &q, refuse("the registry has %d bytes of it, %d should be there", resp.ContentLength, rest))
	}
	if rest != b.desc.Size-b.n {
		// It does not know ranges: what is here already is read once more, and not looked at.
		if _, err := io.CopyN(io.Discard, resp.Body, b.n); err != nil {
			_ = resp.Body.Close()
			return describe(e, &q, err)
		}
	}
	b.body, b.pace = resp.Body, pace{begun: time.Now(), from: b.n}
	return nil
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if n, err := b.readHead(p); n > 0 || err != nil {
		return n, err
	}
	for {
		if b.n == b.desc.Size {
			b.err = b.finish()
			return 0, b.err
		}
		if b.body == nil {
			if b.err = b.open(); b.err != nil {
				return 0, b.err
			}
		}
		asked := time.Now()
		n, err := b.body.Read(p[:min(int64(len(p)), b.desc.Size-b.n)])
		b.pace.waited += time.Since(asked)
		b.hash.Write(p[:n])
		b.n += int64(n)
		if b.n-b.mark >= resumeProgress {
			b.mark, b.tries = b.n, 0
		}
		if err != nil && b.n < b.desc.Size {
			b.err = b.broken(err)
		}
		if err == nil {
			b.speedUp()
		}
		if n > 0 {
			return n, nil
		}
		if b.err != nil {
			return 0, b.err
		}
	}
}

// readHead reads what is here already; 0 bytes and no error say that it was read.
func (b *blobReader) readHead(p []byte) (int, error) {
	for b.head != nil && b.n < b.desc.Size {
		n, err := b.head.Read(p[:min(int64(len(p)), b.desc.Size-b.n)])
		b.hash.Write(p[:n])
		b.n += int64(n)
		b.mark = b.n
		if err == io.EOF {
			b.head, err = nil, nil
		}
		if b.err = err; n > 0 || err != nil {
			return n, err
		}
	}
	b.head = nil
	return 0, nil
}

// broken closes a connection that ended early and waits a little; it returns an error when there is to be no further
// one.
func (b *blobReader) broken(err error) error {
	_ = b.body.Close()
	b.body = nil
	e := &b.endpoints[0]
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("the connection broke after %d of %d bytes: %w", b.n, b.desc.Size, err)
	if b.ctx.Err() != nil {
		return describe(e, &b.request, errors.Join(b.ctx.Err(), err))
	}
	if b.tries >= b.client.retries() {
		if len(b.endpoints) == 1 {
			return describe(e, &b.request, err)
		}
		b.endpoints, b.tries = b.endpoints[1:], 0
		return nil
	}
	if err := sleep(b.ctx, b.client.backoff(b.tries)); err != nil {
		return describe(e, &b.request, err)
	}
	b.tries++
	return nil
}

// finish verifies the whole; the size is right already, unless there is more to come.
func (b *blobReader) finish() error {
	e := &b.endpoints[0]
	if b.body != nil {
		var one [1]byte
		if n, _ := io.ReadFull(b.body, one[:]); n > 0 {
			return describe(e, &b.request, refuse("the registry sent more than its %d bytes", b.desc.Size))
		}
	}
	if got := digest.NewDigest(b.desc.Digest.Algorithm(), b.hash); got != b.desc.Digest {
		return &DigestError{Subject: b.request.subject + ": registry " + e.name, Want: b.desc.Digest, Got: got}
	}
	return io.EOF
}

// Close implements io.Closer.
func (b *blobReader) Close() error {
	if b.err == nil {
		b.err = errors.New(b.request.subject + ": read after close")
	}
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}
