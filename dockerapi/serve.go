package dockerapi

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
)

// Serve answers requests at l, which it closes, until ctx has ended. Then it ends those that are being answered, a log that is followed
// say, and the commands that they have executed in containers, and waits for them. Containers go on.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.init()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(base, baseKey{}, base) },
		ErrorLog:    log.New(logWriter{s.log}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() {
		cancel()
		_ = server.Close()
	})
	defer stop()
	err := server.Serve(l)
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	cancel()
	err = errors.Join(err, server.Close())
	s.execs.end()
	s.calls.wait(base)
	return err
}

// A logWriter gets what http.Server says of connections.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	w.log.Debug("connection", "error", string(b))
	return len(b), nil
}
