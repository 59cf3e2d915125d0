package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A stallError ends a request whose other side has said nothing for too long.
type stallError struct{ after time.Duration }

func (e *stallError) Error() string   { return fmt.Sprintf("no answer for %v", e.after) }
func (e *stallError) Timeout() bool   { return true }
func (e *stallError) Temporary() bool { return true }

// A watchdog ends a request's context unless it is fed in time.
type watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	after  time.Duration
}

func newWatchdog(ctx context.Context, after time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel, after: after}
	w.timer = time.AfterFunc(after, func() { cancel(&stallError{after}) })
	return ctx, w
}

func (w *watchdog) feed() { w.timer.Reset(w.after) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// A watchedBody is a response's body with its watchdog: it counts only the time spent waiting in Read.
type watchedBody struct {
	io.ReadCloser
	ctx context.Context
	dog *watchdog
}

func watchBody(ctx context.Context, resp *http.Response, dog *watchdog, after time.Duration) {
	dog.timer.Stop()
	dog.after = after
	// The timer may have fired between the header and here: then the context is over and the first read says so.
	resp.Body = &watchedBody{resp.Body, ctx, dog}
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.dog.timer.Reset(b.dog.after)
	n, err := b.ReadCloser.Read(p)
	b.dog.timer.Stop()
	if err != nil && err != io.EOF {
		err = causeOf(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.dog.stop()
	return err
}

// causeOf returns the stall that ended ctx, if one did, in place of err.
func causeOf(ctx context.Context, err error) error {
	if stall, ok := context.Cause(ctx).(*stallError); ok {
		return stall
	}
	return err
}

// A feedingReader is a request's body: each read of it shows that the other side still takes bytes.
type feedingReader struct {
	io.Reader
	dog *watchdog
}

func (r *feedingReader) Read(p []byte) (int, error) {
	r.dog.feed()
	return r.Reader.Read(p)
}
