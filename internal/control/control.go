// Package control is calls from one process of a user to another, by a socket in a folder: a document of JSON with open files, and a
// document back. Processes of other users than the server's own and root are turned away.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxMessage bounds a document, in bytes.
	maxMessage = 4 << 20
	// maxFiles bounds what comes with one.
	maxFiles = 8
	// sendTimeout is how long a caller may take to send its document, and to read the answer.
	sendTimeout = 10 * time.Second
)

// ErrNobody is returned by Call when nobody answers: there is no socket, nobody listens at it, or who did has ended before it answered.
var ErrNobody = errors.New("nobody answers")

// A Server answers calls at a socket.
type Server struct {
	l     *net.UnixListener
	path  string
	group sync.WaitGroup
}

// Listen makes the socket, in place of one that a killed process left: who calls it holds a lock that says that nobody listens there.
func Listen(path string) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return &Server{l: l, path: path}, nil
}

// Serve calls handle with each document and the files that came with it, by several goroutines, and sends what it returns. The files are
// closed when handle returns. It returns when Close was called and all calls are answered.
func (s *Server) Serve(handle func(document []byte, files []*os.File) any) {
	defer s.group.Wait()
	for {
		c, err := s.l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptor is free, say
			continue
		}
		s.group.Go(func() {
			defer c.Close()
			if !mayCall(c) {
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(sendTimeout))
			document, files, err := receive(c)
			defer closeFiles(files)
			if err != nil || len(document) == 0 { // There's, say
				return
			}
			b, err := json.Marshal(handle(document, files))
			if err == nil {
				_ = c.SetWriteDeadline(time.Now().Add(sendTimeout)) // Serve waits for who does not read
				_, _ = c.Write(b)                                   // who does not want the answer has hung up
			}
		})
	}
}

// Close removes the socket and has Serve return.
func (s *Server) Close() error {
	return errors.Join(os.Remove(s.path), s.l.Close())
}

// Call sends a document and files to who listens at the socket, and waits for the answer, which it decodes into answer. ctx bounds it.
// Errors: ErrNobody.
func Call(ctx context.Context, path string, document, answer any, files ...*os.File) error {
	b, err := json.Marshal(document)
	if err != nil {
		return err
	}
	c, err := dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err = send(c, b, files)
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(c, maxMessage+1))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || len(b) == 0:
		return errors.Join(ErrNobody, err)
	case len(b) > maxMessage:
		return fmt.Errorf("answer from %s: larger than %d bytes", path, maxMessage)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("answer from %s: %w", path, err)
	}
	return nil
}

// There tells whether somebody listens at the socket.
func There(ctx context.Context, path string) bool {
	c, err := dial(ctx, path)
	return err == nil && c.Close() == nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
