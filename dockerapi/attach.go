package dockerapi

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/detachkeys"
	"github.com/caisson-engine/caisson/internal/hangup"
	"github.com/caisson-engine/caisson/namespace"
)

// A tie is a container's log and its input, if that is asked for.
type tie struct {
	log *namespace.LogReader
	in  io.WriteCloser // nil without
	end func()         // ends the input for all
	err error
}

func (t *tie) close() {
	if t.in != nil {
		_ = t.in.Close()
	}
	if t.log != nil {
		_ = t.log.Close()
	}
}

// open opens the log of a container that runs, since its start, and the input.
func openTie(ctx context.Context, e *engine.Engine, run *engine.Run, input bool) *tie {
	t := &tie{end: func() {}}
	if t.log, t.err = e.LogSinceStart(ctx, run.Container().ID); t.err != nil || !input {
		return t
	}
	in, err := run.Process().Input(ctx)
	if err != nil { // it has none, or has ended
		return t
	}
	t.in = in
	t.end = func() { _ = run.Process().CloseInput(context.WithoutCancel(ctx)) }
	return t
}

// Attachments are the clients that wait for the start of a container: what it prints may be all over, and it removed, as soon as who
// starts it lets go of it.
type attachments struct {
	mu       sync.Mutex
	wait     map[string]map[chan *tie]bool // whether they want the input
	starting map[string]chan struct{}      // by this server; closed when that is over
}

// begin notes that this server starts a container. done is to be called.
func (a *attachments) begin(id string) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.starting == nil {
		a.starting = make(map[string]chan struct{})
	}
	over := make(chan struct{})
	a.starting[id] = over
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		close(over)
		if a.starting[id] == over {
			delete(a.starting, id)
		}
	}
}

// settled waits until this server does not start a container any more.
func (a *attachments) settled(id string) {
	a.mu.Lock()
	over := a.starting[id]
	a.mu.Unlock()
	if over != nil {
		<-over
	}
}

// add has the start of a container give its log and input to the channel. done is to be called.
func (a *attachments) add(id string, input bool) (c chan *tie, done func()) {
	c = make(chan *tie, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wait == nil {
		a.wait = make(map[string]map[chan *tie]bool)
	}
	if a.wait[id] == nil {
		a.wait[id] = make(map[chan *tie]bool)
	}
	a.wait[id][c] = input
	return c, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.wait[id], c)
		if len(a.wait[id]) == 0 {
			delete(a.wait, id)
		}
		select {
		case t := <-c: // nobody has taken it
			t.close()
		default:
		}
	}
}

// started serves those who wait for a container's start.
func (a *attachments) started(ctx context.Context, e *engine.Engine, run *engine.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := run.Container().ID
	for c, input := range a.wait[id] {
		t := openTie(ctx, e, run, input)
		c <- t
		delete(a.wait[id], c)
	}
}

func (s *Server) attachContainer(w http.ResponseWriter, r *http.Request) error {
	return s.attach(r, queryOf(r), func(tty bool, do func(*hijacked)) error {
		h, err := hijack(w, r, tty)
		if err != nil {
			return err
		}
		defer h.close()
		do(h)
		return nil
	})
}

// attach connects a client with a container's input and output, from now on: of one that does not run when it is started. connect takes the
// client's connection over, when nothing can be refused any more, and lets it go after do.
func (s *Server) attach(r *http.Request, q query, connect func(tty bool, do func(*hijacked)) error) error {
	keys, err := parseDetachKeys(q.Get("detachKeys"))
	if err != nil {
		return err
	}
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	if c.State.Paused {
		return failure(http.StatusConflict, "container %s is paused, unpause the container before attach", c.Name)
	}
	streams := wanted(q)
	follow, input := q.bool("stream"), q.bool("stream") && q.bool("stdin") && c.Config.OpenStdin
	started, done := s.attachments.add(c.ID, input)
	defer done()
	events, err := s.Engine.OpenEvents(time.Time{})
	if err != nil {
		return err
	}
	defer events.Close()
	if c, err = s.Engine.Inspect(r.Context(), c.ID); err != nil { // as it is now
		return err
	}
	var t *tie
	if c.State.Status == engine.Running {
		if t, err = s.tieTo(r.Context(), c, input); err != nil {
			return err
		}
		defer t.close()
		for err == nil { // what was printed before belongs to logs
			_, err = t.log.Next()
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
	past := &tie{}
	if q.bool("logs") && !c.State.Started.IsZero() {
		if past.log, err = s.Engine.Log(r.Context(), c.ID); err != nil {
			return err
		}
		defer past.close()
		if t != nil { // it goes on to what comes
			past.log, t.log = t.log, past.log
		}
	}
	return connect(c.Config.TTY, func(h *hijacked) {
		s.attached(h, &attachment{c, t, past, started, events, keys, streams, follow, input})
	})
}

// An attachment is what a client is connected with.
type attachment struct {
	*engine.Container
	now, past     *tie // to what runs, if it does, and to what was printed before
	started       chan *tie
	events        *engine.EventReader
	keys          []byte
	streams       [2]bool
	follow, input bool
}

// attached serves a client that is connected, until that hangs up or there is no more.
func (s *Server) attached(h *hijacked, a *attachment) {
	c, t := a.Container, a.now
	out := &multiplexer{w: h.conn, raw: h.raw || c.Config.TTY}
	send := func(next func() (*namespace.Frame, error)) {
		for {
			f, err := next()
			if err != nil { // it has ended, or the client has
				return
			}
			if a.streams[f.Stream&1] {
				if _, err := out.write(f.Stream, f.Data); err != nil {
					return
				}
			}
		}
	}
	if t == nil && a.past.log != nil {
		send(a.past.log.Next)
	}
	if t == nil && !a.follow {
		return
	}
	if t == nil {
		if t = s.awaitStart(h, c, a.started, a.events, a.input); t == nil {
			return // the client has hung up, or it is removed
		}
		defer t.close()
	}
	note := func(action string) {
		s.Engine.Note(engine.ContainerEvent, action, c.ID, map[string]string{"name": c.Name, "image": c.Config.Image})
	}
	note("attach")
	switch {
	case t.in != nil && c.Config.TTY:
		go func() {
			if err := copyTyped(t.in, h.in, a.keys); errors.Is(err, detachkeys.ErrDetached) {
				note("detach")
				h.stop()
			}
		}()
	case t.in != nil:
		go h.typing(t, c.Config.StdinOnce)
	}
	if a.follow {
		send(func() (*namespace.Frame, error) { return t.log.Follow(h.ctx) })
	} else {
		send(t.log.Next)
	}
}

// wanted are the streams that the parameters ask for, by number.
func wanted(q query) [2]bool {
	return [2]bool{namespace.Stdout & 1: q.bool("stdout"), namespace.Stderr & 1: q.bool("stderr")}
}

// tieTo opens the log and the input of a container that runs.
func (s *Server) tieTo(ctx context.Context, c *engine.Container, input bool) (*tie, error) {
	run, err := s.Engine.Adopt(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	t := openTie(ctx, s.Engine, run, input)
	if t.err != nil {
		t.close()
		return nil, t.err
	}
	return t, nil
}

// awaitStart waits until a container is started, by this server or another program. It is nil if the client hangs up before, or the
// container is removed.
func (s *Server) awaitStart(h *hijacked, c *engine.Container, started chan *tie, events *engine.EventReader, input bool) *tie {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	elsewhere := make(chan bool)
	go func() {
		defer close(elsewhere)
		for {
			ev, err := events.Next(ctx)
			if err != nil {
				return
			}
			if ev.ID == c.ID && (ev.Action == "start" || ev.Action == "destroy") {
				elsewhere <- ev.Action == "start"
				return
			}
		}
	}()
	var t *tie
	select {
	case t = <-started:
	case is := <-elsewhere:
		s.attachments.settled(c.ID)
		select {
		case t = <-started: // it was this server after all
		default:
			if is {
				t, _ = s.tieTo(h.ctx, c, input)
			}
		}
	}
	cancel()
	for range elsewhere { // events is read no more
	}
	if t != nil && t.err != nil {
		t.close()
		return nil
	}
	return t
}

// A hijacked connection belongs to a handler.
type hijacked struct {
	conn net.Conn
	raw  bool      // whatever is written goes as it is, without a head that tells the stream
	in   io.Reader // with what was read ahead
	ctx  context.Context
	stop func()
}

// hijack takes the connection of a request over and sends the answer's head, as an upgrade if the client asks for one.
func hijack(w http.ResponseWriter, r *http.Request, raw bool) (*hijacked, error) {
	kind := types.MediaTypeRawStream
	if !raw && versionOf(r) >= mustVersion("1.42") {
		kind = types.MediaTypeMultiplexedStream
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + kind + "\r\n\r\n"
	if strings.EqualFold(r.Header.Get("Upgrade"), "tcp") {
		head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + kind + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nApi-Version: " + MaxVersion + "\r\n\r\n"
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if a, ok := w.(*answer); ok {
		a.begun = true
	}
	h := newHijacked(r, c)
	h.in = rw.Reader
	if _, err := io.WriteString(c, head); err != nil {
		h.stop()
		return nil, context.Canceled
	}
	hangup.Read(c, headWait)
	return h, nil
}

// newHijacked has what is blocked in a connection end when the server does, or the client.
func newHijacked(r *http.Request, c net.Conn) *hijacked {
	ctx, cancel := context.WithCancel(lasting(r))
	unlink := context.AfterFunc(ctx, func() { _ = c.Close() })
	h := &hijacked{conn: c, in: c, ctx: ctx, stop: func() {
		unlink()
		cancel()
		_ = c.Close()
	}}
	hangup.Watch(ctx, c, h.stop) // who prints nothing would not notice
	_ = c.SetDeadline(time.Time{})
	return h
}

// headWait is how long a client has to read the head of an answer alone. Those that read ahead, and then go on with the socket itself as
// Docker's SDK for Python does, lose what comes with it.
const headWait = 100 * time.Millisecond

func (h *hijacked) close() { h.stop() }

// lasting is the context for as long as the server serves: that of a request ends when the client has said all that it has to say.
func lasting(r *http.Request) context.Context {
	if base := baseOf(r); base != context.Background() {
		return base
	}
	return context.WithoutCancel(r.Context())
}

// baseOf is the context of the Serve that a request has come by; the background's if it has come by none.
func baseOf(r *http.Request) context.Context {
	if base, ok := r.Context().Value(baseKey{}).(context.Context); ok {
		return base
	}
	return context.Background()
}

type baseKey struct{}

// typing copies what the client sends to the container's input, until that or the connection ends. once says that then the input ends for
// all.
func (h *hijacked) typing(t *tie, once bool) {
	_, _ = io.Copy(t.in, h.in)
	_ = t.in.Close()
	if once {
		t.end()
	}
}

// A multiplexer writes both streams of a process to one connection: raw, or as frames with a head of the stream and the length.
type multiplexer struct {
	mu  sync.Mutex
	w   io.Writer
	raw bool
}

func (m *multiplexer) write(stream namespace.Stream, b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.raw || len(b) == 0 {
		return m.w.Write(b)
	}
	number := byte(1)
	if stream == namespace.Stderr {
		number = 2
	}
	frame := make([]byte, 8, 8+len(b))
	frame[0] = number
	binary.BigEndian.PutUint32(frame[4:], uint32(len(b)))
	if _, err := m.w.Write(append(frame, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}
