package dockerapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"

	lib "github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/detachkeys"
	"github.com/caisson-engine/caisson/namespace"
)

// Execs are the commands that were made by the API to be executed in containers. They end with this program.
type execs struct {
	mu    sync.Mutex
	all   map[string]*execution
	bytes int // of all
}

const (
	// maxExecs bounds those that are remembered: the oldest that has ended, or was never started, is forgotten first.
	maxExecs = 1000
	// maxExecBytes bounds what is remembered of them, in bytes, in the same manner.
	maxExecBytes = 32 << 20
	// execDelay is how long the output of a command that has ended is waited for while others hold it open.
	execDelay = 2 * time.Second
)

// An execution is one command.
type execution struct {
	id, container, name, image string
	made                       time.Time
	config                     container.ExecCreateRequest
	detach                     []byte // the keys

	mu      sync.Mutex
	base    context.Context // of the Serve that it is started by
	process *lib.Process    // once it is started
	started bool
	ended   bool
	code    int
	settled sync.Cond // on mu: its process is there, or it has ended
}

func (s *Server) execRoutes() {
	s.handle("POST /containers/{name}/exec", s.createExec)
	s.handle("POST /exec/{id}/start", s.startExec)
	s.handle("POST /exec/{id}/resize", s.resizeExec)
	s.handle("GET /exec/{id}/json", s.inspectExec)
}

func (s *Server) createExec(w http.ResponseWriter, r *http.Request) error {
	x := &execution{made: time.Now()}
	x.settled.L = &x.mu
	if err := s.readJSON(w, r, &x.config, false); err != nil {
		return err
	}
	if len(x.config.Cmd) == 0 || x.config.Cmd[0] == "" {
		return badRequest("No exec command specified")
	}
	var err error
	if x.detach, err = parseDetachKeys(x.config.DetachKeys); err != nil {
		return err
	}
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	if c.State.Status != engine.Running {
		return failure(http.StatusConflict, "container %s is not running", c.ID)
	}
	if c.State.Paused {
		return failure(http.StatusConflict, "container %s is paused, unpause the container before exec", c.Name)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	x.id, x.container, x.name, x.image = hex.EncodeToString(b[:]), c.ID, c.Name, c.Config.Image
	s.execs.add(x)
	s.noteExec(x, "exec_create: "+strings.Join(x.config.Cmd, " "))
	return writeJSON(w, http.StatusCreated, &container.ExecCreateResponse{ID: x.id})
}

func (s *Server) noteExec(x *execution, action string, more ...string) {
	a := map[string]string{"name": x.name, "image": x.image, "execID": x.id}
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	s.Engine.Note(engine.ContainerEvent, action, x.container, a)
}

func (e *execs) add(x *execution) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = make(map[string]*execution)
	}
	e.bytes += x.size()
	for len(e.all) >= maxExecs || e.bytes > maxExecBytes {
		var oldest *execution
		for _, o := range e.all {
			if !o.running() && (oldest == nil || o.made.Before(oldest.made)) {
				oldest = o
			}
		}
		if oldest == nil {
			break
		}
		e.bytes -= oldest.size()
		delete(e.all, oldest.id)
	}
	e.all[x.id] = x
}

// size is what it takes in memory, about.
func (x *execution) size() int {
	n := len(x.config.User) + len(x.config.WorkingDir) + len(x.config.DetachKeys)
	for _, list := range [][]string{x.config.Cmd, x.config.Env} {
		for _, text := range list {
			n += 16 + len(text)
		}
	}
	return n
}

func (e *execs) get(id string) (*execution, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.all[id]; x != nil {
		return x, nil
	}
	return nil, failure(http.StatusNotFound, "No such exec instance: %s", id)
}

// end kills the commands whose Serve is over: nobody would wait for them.
func (e *execs) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.all {
		x.killIfOver()
	}
}

func (x *execution) killIfOver() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.process != nil && !x.ended && x.base.Err() != nil {
		_ = x.process.Kill()
	}
}

// of are the IDs of a container's commands that run.
func (e *execs) of(container string) (ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, x := range e.all {
		if x.container == container && x.running() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (x *execution) running() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.started && !x.ended
}

// begin is called once, by who starts it.
func (x *execution) begin(base context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.started {
		return failure(http.StatusConflict, "exec command %s was started already", x.id)
	}
	x.started, x.base = true, base
	return nil
}

func (x *execution) over(code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended, x.code = true, code
	x.settled.Broadcast()
}

// startExec executes a command: in background, or with its input and output on this connection.
func (s *Server) startExec(w http.ResponseWriter, r *http.Request) error {
	x, err := s.execs.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	b := &container.ExecStartRequest{}
	if err := s.readJSON(w, r, b, true); err != nil {
		return err
	}
	run, err := s.Engine.Adopt(r.Context(), x.container)
	if err != nil {
		return err
	}
	defer func() { _ = run.Leave() }()
	base := baseOf(r)
	if err := x.begin(base); err != nil {
		return err
	}
	p := x.command(run, b)
	if b.Detach {
		err := p.Start(context.WithoutCancel(r.Context()))
		if err != nil {
			return s.execFailed(x, err)
		}
		s.execRuns(x, p)
		if !s.calls.begin(base) { // it is killed
			s.awaitExec(x, p)
			return nil
		}
		go func() {
			defer s.calls.end(base)
			s.awaitExec(x, p)
		}()
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return s.connectExec(w, r, x, p)
}

// command makes the process.
func (x *execution) command(run *engine.Run, b *container.ExecStartRequest) *lib.Process {
	c := &x.config
	p := run.Process().Command(c.Cmd...)
	p.Env = append(slices.Clone(p.Env), c.Env...)
	p.TTY, p.WaitDelay = c.Tty, execDelay
	if c.WorkingDir != "" {
		p.Dir = c.WorkingDir
	}
	if c.User != "" {
		p.User, p.Groups = c.User, nil
	}
	if size := cmpSize(b.ConsoleSize, c.ConsoleSize); c.Tty && size != nil {
		p.TTYSize = winSize(size[0], size[1])
	}
	if c.Privileged {
		p.CapAdd, p.CapDrop = []string{"ALL"}, nil
	}
	return p
}

func cmpSize(sizes ...*[2]uint) *[2]uint {
	for _, size := range sizes {
		if size != nil && *size != [2]uint{} {
			return size
		}
	}
	return nil
}

// connectExec executes a command with this connection as its input and output.
func (s *Server) connectExec(w http.ResponseWriter, r *http.Request, x *execution, p *lib.Process) error {
	c := &x.config
	var in io.WriteCloser
	var input *io.PipeReader
	switch {
	case !c.AttachStdin:
	case c.Tty:
		var to *io.PipeWriter
		input, to = io.Pipe()
		p.Stdin, in = input, to
	default:
		pipe, err := p.StdinPipe()
		if err != nil {
			x.over(126)
			return err
		}
		in = pipe
	}
	h, err := hijack(w, r, c.Tty)
	if err != nil {
		x.over(126)
		if in != nil {
			_ = in.Close()
		}
		return err
	}
	defer h.close()
	out := &multiplexer{raw: c.Tty, w: h.conn}
	if c.AttachStdout || c.Tty {
		p.Stdout = &execWriter{out, namespace.Stdout}
	}
	if c.AttachStderr && !c.Tty {
		p.Stderr = &execWriter{out, namespace.Stderr}
	}
	if err := p.Start(context.WithoutCancel(r.Context())); err != nil {
		if in != nil {
			_ = in.Close()
		}
		_, _ = out.write(namespace.Stdout, []byte(s.execFailed(x, err).Error()+"\r\n")) // Docker says it there
		return nil
	}
	s.execRuns(x, p)
	if in != nil {
		go func() {
			if c.Tty {
				if err := copyTyped(in, h.in, x.detach); errors.Is(err, detachkeys.ErrDetached) { // it goes on, with its input open
					s.noteExec(x, "exec_detach")
					h.stop()
					return
				}
			} else {
				_, _ = io.Copy(in, h.in)
			}
			_ = in.Close()
		}()
	}
	s.awaitExec(x, p)
	if input != nil {
		_ = input.Close()
	}
	return nil // the connection says it
}

// An execWriter writes a stream of a command to a client. When that has hung up, the command goes on.
type execWriter struct {
	to     *multiplexer
	stream namespace.Stream
}

func (e *execWriter) Write(b []byte) (int, error) {
	_, _ = e.to.write(e.stream, b)
	return len(b), nil
}

func (s *Server) execRuns(x *execution, p *lib.Process) {
	x.mu.Lock()
	x.process = p
	x.settled.Broadcast()
	x.mu.Unlock()
	x.killIfOver() // end may have found no process
	s.noteExec(x, "exec_start: "+strings.Join(x.config.Cmd, " "))
}

// execFailed notes that a command could not be executed, with a shell's exit code.
func (s *Server) execFailed(x *execution, err error) error {
	code := engine.ExecExitCode(err)
	x.over(code)
	s.noteExec(x, "exec_die", "exitCode", strconv.Itoa(code))
	if code == 127 || engine.ExitCode(err) == code { // the command cannot be executed, or in that working directory
		return badRequest("OCI runtime exec failed: exec failed: %w", err)
	}
	return err
}

func (s *Server) awaitExec(x *execution, p *lib.Process) {
	err := p.Wait(context.Background())
	code := engine.ExitCode(err)
	if errors.Is(err, lib.ErrWaitDelay) {
		code = 0
	}
	x.over(code)
	s.noteExec(x, "exec_die", "exitCode", strconv.Itoa(code))
}

func (s *Server) resizeExec(w http.ResponseWriter, r *http.Request) error {
	x, err := s.execs.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	size, err := queryOf(r).size()
	if err != nil {
		return err
	}
	x.mu.Lock()
	for x.started && x.process == nil && !x.ended { // the client has been told already that it is being executed
		x.settled.Wait()
	}
	p, ended := x.process, x.ended
	x.mu.Unlock()
	if p == nil || ended {
		return failure(http.StatusConflict, "exec %s is not running", x.id)
	}
	if err := p.Resize(size); err != nil {
		return failure(http.StatusConflict, "exec %s: %w", x.id, err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) inspectExec(w http.ResponseWriter, r *http.Request) error {
	x, err := s.execs.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &x.config
	i := &container.ExecInspectResponse{
		ID: x.id, Running: x.started && !x.ended, OpenStdin: c.AttachStdin, OpenStdout: c.AttachStdout, OpenStderr: c.AttachStderr,
		CanRemove: x.ended, ContainerID: x.container, DetachKeys: []byte(c.DetachKeys),
		ProcessConfig: &container.ExecProcessConfig{
			Tty: c.Tty, Entrypoint: c.Cmd[0], Arguments: c.Cmd[1:], Privileged: &c.Privileged, User: c.User,
		},
	}
	if x.ended {
		i.ExitCode = &x.code
	}
	if x.process != nil && !x.ended {
		i.Pid = x.process.Pid()
	}
	return writeJSON(w, http.StatusOK, i)
}
