package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/caisson-engine/caisson/internal/control"
	"github.com/caisson-engine/caisson/network"
)

// A call asks the supervisor of a folder to do something with a container's networks.
type call struct {
	// Do is "connect", a container's process that is being started, with its network namespace and the user namespace that owns it as
	// files where they cannot be had by its number; "serve", one that runs, or is to be started again; "halt", not to start one again; "attach" and "detach", to and from one more network;
	// "release", for what has ended.
	Do  string
	ID  string
	Pid int    `json:",omitzero"`
	At  uint64 `json:",omitzero"` // when that began

	Connection *Connection `json:",omitzero"`
	Network    string      `json:",omitzero"`

	// What both sides must have in common: see networksAt.
	UserMode  bool
	Namespace string
}

// An answer is the supervisor's.
type answer struct {
	Endpoints []network.Endpoint `json:",omitzero"`
	// Kind and Error are those of an error.
	Kind  Kind   `json:",omitzero"`
	Error string `json:",omitzero"`
	// Ending says that nobody is there any more.
	Ending bool `json:",omitzero"`
}

func (a *answer) err() error {
	switch {
	case a.Kind != 0:
		return &Error{Kind: a.Kind, Message: a.Error}
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// chooseSupervisor decides whether a supervisor has the container's networks, and sees to it that one is there.
func (r *Run) chooseSupervisor(ctx context.Context, o *StartOptions) error {
	e := r.e
	starts := e.options.StartSupervisor != nil
	if err := e.chooseRestarter(ctx, r.record.Config.RestartPolicy, o.Detach); err != nil {
		return err
	}
	if err := r.chooseWatcher(ctx, o.Detach); err != nil {
		return err
	}
	if len(r.record.Networks) == 0 || o.Audit != nil && !o.Detach || !o.Detach && !(e.inUserMode() && starts) {
		return nil
	}
	r.supervised = o.Audit == nil && (e.supervisorThere(ctx) || starts)
	if r.supervised {
		return nil
	}
	return r.checkAlone()
}

func (e *Engine) supervisorThere(ctx context.Context) bool {
	return e.supervisor.Load() != nil || control.There(ctx, e.socketPath())
}

// checkAlone refuses what ends with this program, which nobody else serves.
func (r *Run) checkAlone() error {
	cfg := &r.record.Config
	refused := func(what any) error {
		return fmt.Errorf("%v: a container in background needs a supervisor for it, and none is there: %w", what, errors.ErrUnsupported)
	}
	if r.e.inUserMode() {
		return refused("network " + r.record.Networks[0].Network + " without root")
	}
	if cfg.EgressLog != "" {
		return refused("egress log")
	}
	if cfg.Egress != nil {
		for _, rule := range cfg.Egress.Allow {
			if rule.Name != "" {
				return refused(fmt.Sprintf("egress %s: a name", rule))
			}
		}
	}
	for _, p := range r.record.Ports {
		if p.Address.IsLoopback() {
			return refused(fmt.Sprintf("publish %s on the loopback address", p))
		}
	}
	return nil
}

// networksAt says where the networks are: in the program or the host, and in which network namespace. That of a supervisor is the
// one of the program that started it, which may not be that of the next one who calls.
func (e *Engine) networksAt() (userMode bool, ns string) {
	ns = e.options.NetworkNamespace
	if ns == "" {
		ns, _ = os.Readlink("/proc/self/ns/net") // "net:[4026531840]"
	}
	return e.inUserMode(), ns
}

// askPatience is how long ask starts supervisors that do not answer, and halt waits for a start that was given up.
const askPatience = 30 * time.Second

// ask calls the supervisor, and starts one if none is there and it can.
func (e *Engine) ask(ctx context.Context, c *call, files ...*os.File) ([]network.Endpoint, error) {
	c.UserMode, c.Namespace = e.networksAt()
	until := time.Now().Add(e.patience)
	for nap := 2 * time.Millisecond; ; nap = min(2*nap, 100*time.Millisecond) {
		a := &answer{}
		err := control.Call(ctx, e.socketPath(), c, a, files...)
		if err == nil && !a.Ending {
			return a.Endpoints, a.err()
		}
		if err == nil { // it is about to end
			err = errors.Join(control.ErrNobody, a.err())
		}
		if !errors.Is(err, control.ErrNobody) || e.options.StartSupervisor == nil {
			return nil, fmt.Errorf("supervisor of %s: %w", e.dir, err)
		}
		if err := e.options.StartSupervisor(ctx); err != nil {
			return nil, fmt.Errorf("start the supervisor of %s: %w", e.dir, err)
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("supervisor of %s: each that was started has ended before it answered: %w", e.dir, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(nap): // one that is about to end
		}
	}
}

// connectSupervised has the supervisor connect a process that is being started.
func (e *Engine) connectSupervised(ctx context.Context, rec *Container, pid int, ns, user *os.File) ([]network.Endpoint, error) {
	start, err := startTime(pid)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	if ns != nil && user != nil {
		files = []*os.File{ns, user}
	}
	return e.ask(ctx, &call{Do: "connect", ID: rec.ID, Pid: pid, At: start}, files...)
}

// assureSupervised looks once more: the supervisor may have been killed after it connected the container, and before that was said to run.
func (r *Run) assureSupervised(ctx context.Context) {
	if !r.supervised && !r.watched {
		return
	}
	if _, err := r.e.ask(ctx, &call{Do: "serve", ID: r.record.ID}); err != nil {
		r.e.log.Warn("networks of a container that runs", "id", r.record.ID, "error", err)
	}
}

// letGoTimeout bounds how long a supervisor is waited for.
const letGoTimeout = 20 * time.Second

// letGo has the supervisor give back a container's networks, so that its ports are free when somebody hears of its end.
func (e *Engine) letGo(ctx context.Context, id string) error {
	if s := e.supervisor.Load(); s != nil {
		s.turn.Lock()
		defer s.turn.Unlock()
		return s.release(id, s.find(id))
	}
	ctx, cancel := context.WithTimeout(ctx, letGoTimeout)
	defer cancel()
	a := &answer{}
	err := control.Call(ctx, e.socketPath(), &call{Do: "release", ID: id}, a)
	if errors.Is(err, control.ErrNobody) {
		return nil // what it had ended with it
	}
	return errors.Join(err, a.err())
}

// wakeSupervisor starts a supervisor if none is there: one was killed.
func (e *Engine) wakeSupervisor(ctx context.Context) {
	if e.options.StartSupervisor == nil || e.supervisorThere(ctx) {
		return
	}
	if err := e.options.StartSupervisor(ctx); err != nil {
		e.log.Warn("supervisor could not be started", "error", err)
	}
}

// answer does what a call asks for.
func (s *supervisor) answer(document []byte, files []*os.File) any {
	if !s.begin() {
		return &answer{Ending: true}
	}
	defer s.done()
	c := &call{}
	err := json.Unmarshal(document, c)
	a := &answer{}
	if err == nil {
		a.Endpoints, err = s.do(c, files)
	}
	var e *Error
	switch {
	case s.ctx.Err() != nil && err != nil:
		a.Ending = true
	case errors.As(err, &e):
		a.Kind, a.Error = e.Kind, err.Error()
	case err != nil:
		a.Error = err.Error()
	}
	return a
}

func (s *supervisor) do(c *call, files []*os.File) ([]network.Endpoint, error) {
	if !isID(c.ID) {
		return nil, invalid("%q is no container's ID", c.ID)
	}
	switch c.Do {
	case "release":
		return nil, s.e.letGo(s.ctx, c.ID)
	case "serve":
		return nil, s.resume(s.ctx, c.ID)
	case "halt":
		s.forgetRestart(c.ID)
		return nil, nil
	}
	if user, ns := s.e.networksAt(); c.UserMode != user || c.Namespace != ns {
		return nil, conflict("the supervisor of %s has its networks elsewhere: in user mode %t, in network namespace %q, not %t and %q",
			s.e.dir, user, ns, c.UserMode, c.Namespace)
	}
	rec, err := readRecord(s.e.path(c.ID))
	if err != nil {
		return nil, err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	v := s.find(c.ID)
	if c.Do == "connect" {
		return s.connect(rec, c, files)
	}
	if v == nil || v.box == nil {
		return nil, conflict("nobody serves the networks of container %s", rec.Name)
	}
	var all []network.Endpoint
	switch {
	case c.Do == "attach" && c.Connection != nil:
		all, err = s.e.attachTo(s.ctx, rec, v.box, c.Connection)
	case c.Do == "detach":
		all, err = s.e.detachFrom(s.ctx, rec, v.box, c.Network)
	default:
		err = invalid("there is no call %q", c.Do)
	}
	if err == nil {
		err = s.e.nameServers(rec, v.box)
	}
	return all, err
}

// connect connects a process that is being started. The caller has the turn.
func (s *supervisor) connect(rec *Container, c *call, files []*os.File) (_ []network.Endpoint, err error) {
	if err := s.release(rec.ID, s.find(rec.ID)); err != nil { // an earlier run's
		return nil, err
	}
	v := &served{}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	if v.proc, err = findProcess(c.Pid, c.At); err != nil {
		return nil, err
	}
	o := rec.sandboxOptions()
	if len(files) == 2 {
		o.Network, o.User = files[0], files[1]
	}
	// A supervisor that was killed while it connected it may have left something.
	stale, err := s.e.networks.Sandbox(c.Pid, o)
	if err == nil {
		err = stale.Close()
	}
	if err != nil {
		return nil, err
	}
	if o.Audit, v.log, err = s.e.audit(rec, nil); err != nil {
		return nil, err
	}
	reserved, err := s.e.reserve(rec)
	if err != nil {
		return nil, err
	}
	var all []network.Endpoint
	if v.box, all, err = s.e.attach(s.ctx, rec, c.Pid, o, reserved); err != nil {
		return nil, err
	}
	s.keep(rec, v)
	return all, nil
}
