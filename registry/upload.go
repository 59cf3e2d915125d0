package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// An upload is a blob on its way to a registry.
type upload struct {
	client   *Client
	ctx      context.Context
	endpoint *endpoint
	ref      Reference // with the blob's digest
	blob     BlobUpload
	content  rewinder

	location *url.URL // where to send to; nil when an upload is to be begun
	sent     int64    // bytes that the registry has
	chunk    int64    // bytes to send with a request; 0 is all
	resumed  bool     // the registry said where it stands
}

func (u *upload) request(method string) request {
	return request{
		method: method, path: u.ref.Repository + "/blobs/uploads/",
		subject: "upload of blob " + string(u.ref.Digest) + " to " + u.ref.FamiliarName(),
		scopes:  []string{pushScope(u.ref.Repository)},
	}
}

// run sends the blob, and sends what the registry lacks once more after what may pass.
func (u *upload) run() (BlobOutcome, error) {
	var mark int64
	for try := 0; ; try++ {
		outcome, err := u.send()
		if err == nil {
			return outcome, nil
		}
		if u.sent >= mark+resumeProgress {
			mark, try = u.sent, 0
		}
		if u.ctx.Err() != nil || try >= u.client.retries() || !isPassing(err) || !u.mayHelp(err) {
			u.giveUp()
			return "", err
		}
		if _, seekable := u.blob.Content.(io.Seeker); !seekable {
			u.giveUp()
			return "", err
		}
		q := u.request("")
		if err := sleep(u.ctx, u.client.backoff(try)); err != nil {
			u.giveUp()
			return "", describe(u.endpoint, &q, err)
		}
		u.resume()
	}
}

// giveUpTime is what a registry is given to forget an upload.
const giveUpTime = time.Second

// giveUp has the registry forget an upload that nobody goes on with. What was sent of it would be there until it expires, and the
// registry's disk may be full already.
func (u *upload) giveUp() {
	if u.location == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), giveUpTime)
	defer cancel()
	q := u.request(http.MethodDelete)
	q.address, q.once = u.location, true
	for try := 0; ; try++ {
		resp, err := u.client.do(ctx, u.endpoint, &q)
		if err != nil {
			return
		}
		drain(resp)
		// The registry may not have noticed yet that what it was being sent has ended.
		if resp.StatusCode != http.StatusConflict || sleep(ctx, 10*time.Millisecond<<min(try, 5)) != nil {
			return
		}
	}
}

// mayHelp says whether a further try may end otherwise: after an answer that may pass, or when the registry was wrong about
// what it had.
func (u *upload) mayHelp(err error) bool {
	answer, ok := asError(err)
	switch {
	case !ok:
		return true
	case answer.Status == http.StatusRequestedRangeNotSatisfiable:
		// The registry stands elsewhere than was thought; when it has said where itself, it is begun anew.
	case u.resumed && (answer.Code == CodeDigestInvalid || answer.Status == http.StatusNotFound):
	default:
		return worthRetrying(answer.Status)
	}
	if u.resumed {
		u.location, u.resumed = nil, false
	}
	return true
}

// send begins an upload, unless one is under way, and sends all that the registry lacks.
func (u *upload) send() (BlobOutcome, error) {
	if u.location == nil {
		if mounted, err := u.begin(); err != nil || mounted {
			return BlobMounted, err
		}
	}
	size := u.blob.Descriptor.Size
	for u.chunk > 0 && size-u.sent > u.chunk || u.sent > 0 && u.sent < size {
		if err := u.patch(min(size-u.sent, or(u.chunk, size))); err != nil {
			return "", err
		}
	}
	return BlobUploaded, u.finish()
}

// begin opens a session, or mounts.
func (u *upload) begin() (mounted bool, err error) {
	q := u.request(http.MethodPost)
	if u.blob.MountFrom != "" {
		q.query = url.Values{"mount": {string(u.ref.Digest)}, "from": {u.blob.MountFrom}}
		q.scopes = append(q.scopes, pullScope(u.blob.MountFrom))
	} else if a := u.ref.Digest.Algorithm(); a != digest.Canonical {
		q.query = url.Values{"digest-algorithm": {string(a)}}
	}
	resp, err := u.client.do(u.ctx, u.endpoint, &q)
	if err != nil {
		return false, err
	}
	switch resp.StatusCode {
	case http.StatusCreated:
		drain(resp)
		return true, nil
	case http.StatusAccepted:
		drain(resp)
	default:
		return false, u.client.answerError(u.ctx, u.endpoint, &q, resp)
	}
	u.sent, u.resumed, u.chunk = 0, false, u.client.ChunkSize
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && u.chunk > 0 {
		u.chunk = max(u.chunk, least)
	}
	return false, u.follow(&q, resp)
}

// follow takes note of where the upload goes on.
func (u *upload) follow(q *request, resp *http.Response) error {
	location, err := uploadLocation(resp)
	if err != nil {
		return describe(u.endpoint, q, err)
	}
	u.location = location
	return nil
}

// body makes a request's body of the next n bytes of the content.
func (u *upload) body(q *request, n int64) {
	from := u.sent
	q.body, q.size = func() (io.Reader, error) { return u.content(from) }, n
	q.header = http.Header{"Content-Type": {"application/octet-stream"}}
}

// patch sends the next n bytes.
func (u *upload) patch(n int64) error {
	q := u.request(http.MethodPatch)
	q.address, q.once = u.location, true
	u.body(&q, n)
	q.header.Set("Content-Range", fmt.Sprintf("%d-%d", u.sent, u.sent+n-1))
	resp, err := u.client.do(u.ctx, u.endpoint, &q)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return u.client.answerError(u.ctx, u.endpoint, &q, resp)
	}
	drain(resp)
	u.sent += n
	if end, ok := rangeEnd(resp.Header); ok && end < u.sent {
		if end <= u.sent-n {
			return describe(u.endpoint, &q, refuse("the registry took none of the bytes from %d on", u.sent-n))
		}
		if _, seekable := u.blob.Content.(io.Seeker); !seekable {
			return describe(u.endpoint, &q, refuse("the registry took a part of a chunk, which cannot be read twice"))
		}
		u.sent = end
	}
	return u.follow(&q, resp)
}

// finish sends the last chunk, if there is one, and says that it was all.
func (u *upload) finish() error {
	q := u.request(http.MethodPut)
	location := *u.location
	values := location.Query()
	values.Set("digest", string(u.ref.Digest))
	location.RawQuery = values.Encode()
	q.address, q.once = &location, true
	u.body(&q, u.blob.Descriptor.Size-u.sent)
	resp, err := u.client.do(u.ctx, u.endpoint, &q)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return u.client.answerError(u.ctx, u.endpoint, &q, resp)
	}
	drain(resp)
	return nil
}

// resume asks where a broken upload stands. When that is not to be learnt, it is begun anew.
func (u *upload) resume() {
	if u.location == nil {
		return
	}
	q := u.request(http.MethodGet)
	q.address = u.location
	u.location, u.resumed = nil, false
	resp, err := u.client.do(u.ctx, u.endpoint, &q)
	if err != nil {
		return
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusOK {
		return
	}
	end, ok := rangeEnd(resp.Header)
	// 0-0 may mean nothing and one byte.
	if !ok || end <= 1 || end > u.blob.Descriptor.Size {
		return
	}
	if resp.Header.Get("Location") == "" {
		resp.Header.Set("Location", q.address.String())
	}
	if u.follow(&q, resp) == nil {
		u.sent, u.resumed = end, true
	}
}

// rangeEnd reads "Range: 0-41", also with "bytes=" before it: 42 bytes.
func rangeEnd(h http.Header) (int64, bool) {
	s := strings.TrimPrefix(strings.TrimSpace(h.Get("Range")), "bytes=")
	first, last, ok := strings.Cut(s, "-")
	n, err := strconv.ParseInt(last, 10, 62)
	if !ok || first != "0" || err != nil || n < 0 {
		return 0, false
	}
	return n + 1, true
}
