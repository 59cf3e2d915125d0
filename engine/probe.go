package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
)

const (
	// probeDelay is how long at most the output of a probe that has ended is waited for while others hold it open.
	probeDelay = 2 * time.Second
	// probeEnd is how long a container is waited for that seems to be ending: a process of it was killed, or could not be made.
	probeEnd = 5 * time.Second
)

// A prober executes the health check of a container that runs.
type prober struct {
	e      *Engine
	c      *Container // as it is written down
	in     *container.Container
	check  *image.Healthcheck // with defaults
	began  time.Time          // of the container, by a clock that nobody sets
	health *Health
}

// probe executes the health check of a container that runs, until it ends or ctx does.
func (e *Engine) probe(ctx context.Context, c *Container, in *container.Container) {
	proc, err := findProcess(c.State.Pid, c.State.StartTime)
	if err != nil {
		return // it has ended
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer func() {
		cancel()
		watching.Wait()
		_ = proc.Close()
	}()
	watching.Go(func() {
		_ = proc.AwaitEnd(ctx)
		cancel()
	})
	if proc.AwaitSetUp(ctx) != nil {
		return
	}
	p := &prober{e: e, c: c, in: in, check: c.Healthcheck.Over(&defaultHealthcheck), health: e.health(c)}
	now := time.Now()
	p.began = now.Add(-max(0, now.Sub(c.State.Started)))
	p.run(ctx)
}

// sleep waits. It is false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// run executes probes until ctx ends, or the container's document is another run's.
func (p *prober) run(ctx context.Context) {
	wait := p.interval()
	if n := len(p.health.Log); n > 0 && p.health.Log[n-1].End.After(p.c.State.Started) { // by the supervisor before
		wait = min(wait, max(0, wait-time.Since(p.health.Log[n-1].End)))
	}
	warned := false
	for ; sleep(ctx, wait); wait = p.interval() {
		c, err := readRecord(p.e.path(p.c.ID)) // it may have another name
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if !warned {
				p.e.log.Warn("health check is not executed", "id", p.c.ID, "error", err) // too many files are open, say
			}
			warned = true
			continue
		}
		if err != nil || c.State.Status != Running || !c.State.Started.Equal(p.c.State.Started) {
			return
		}
		p.c, warned = c, false
		ran := time.Since(p.began)
		r := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if r == nil {
			continue
		}
		was := p.health.Status
		p.health = p.health.after(*r, ran, p.check)
		if err := p.e.writeHealth(p.c, p.health); err != nil {
			p.e.log.Warn("health of a container", "id", p.c.ID, "error", err) // the disk is full, say
		}
		if is := p.health.Status; is != was {
			p.e.note("health_status: "+string(is), p.c)
		}
	}
}

func (p *prober) interval() time.Duration { return p.health.interval(time.Since(p.began), p.check) }

// args is the command of a probe.
func (p *prober) args() []string {
	if p.check.Test[0] == image.HealthShell {
		shell := p.c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return slices.Concat(shell, p.check.Test[1:])
	}
	return p.check.Test[1:]
}

// once executes a probe. Nil says that there is nothing to say of the container: it is paused, is ending, or ctx has ended.
func (p *prober) once(ctx context.Context) *HealthResult {
	args := p.args()
	x := &probe{p: p, id: newID(), command: p.in.Command(args...)}
	x.command.Stdout, x.command.Stderr, x.command.WaitDelay = &x.out, &x.out, min(probeDelay, p.check.Timeout)
	r := &HealthResult{Start: time.Now().UTC()}
	started, err := x.start(ctx)
	if err == nil && !started {
		return nil
	}
	ending := false // or it may be
	if err == nil {
		r.ExitCode, r.Output = x.wait(ctx)
		ending = r.ExitCode > 128 && x.command.State != nil && x.command.State.Signal == syscall.SIGKILL
	} else {
		r.ExitCode, r.Output = -1, err.Error()
		code := ExitCode(err)
		ending = code != 126 && code != 127
	}
	r.End, r.Output = time.Now().UTC(), strings.ToValidUTF8(r.Output[:min(len(r.Output), maxHealthOutput)], "\uFFFD")
	if ctx.Err() != nil || r.ExitCode != 0 && frozen(p.c.State.Cgroups) || ending && !sleep(ctx, probeEnd) {
		return nil
	}
	return r
}

// A probe is a command that is executed once.
type probe struct {
	p       *prober
	id      string
	command *container.Process
	out     probeOutput
}

func (x *probe) note(action string, more ...string) {
	x.p.e.note(action, x.p.c, append([]string{"execID", x.id}, more...)...)
}

// start starts it, unless the container is paused. Nobody pauses it meanwhile.
func (x *probe) start(ctx context.Context) (started bool, err error) {
	done, err := x.p.e.steady(ctx, x.p.c)
	if err != nil {
		return false, err
	}
	defer done()
	if frozen(x.p.c.State.Cgroups) {
		return false, nil
	}
	line := x.command.String()
	x.note("exec_create: " + line)
	wait, cancel := context.WithTimeout(ctx, max(x.p.check.Timeout, defaultHealthcheck.Timeout)) // the machine may be busy
	defer cancel()
	if err := x.command.Start(wait); err != nil {
		if ctx.Err() == nil {
			x.note("exec_die", "exitCode", strconv.Itoa(ExitCode(err)))
		}
		return false, err
	}
	x.note("exec_start: " + line)
	return true, nil
}

// wait waits for its end, which it sees to when the time is up or ctx ends.
func (x *probe) wait(ctx context.Context) (code int, output string) {
	timeout := x.p.check.Timeout
	until, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := x.command.Wait(until)
	late := false
	if x.command.State == nil && until.Err() != nil {
		late = !errors.Is(x.command.KillGroup(), os.ErrProcessDone) // it may have ended, and its output is what is waited for
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), killed)
		defer cancel()
		err = x.command.Wait(end)
	}
	if code = ExitCode(err); errors.Is(err, container.ErrWaitDelay) {
		code = 0
	}
	if ctx.Err() == nil {
		x.note("exec_die", "exitCode", strconv.Itoa(code))
	}
	if late {
		return -1, fmt.Sprintf("Health check exceeded timeout (%v): %s", timeout, x.out.String())
	}
	return code, x.out.String()
}

// A probeOutput keeps the beginning of what is written.
type probeOutput struct {
	mu   sync.Mutex
	b    []byte
	more bool
}

func (o *probeOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(b), maxHealthOutput-len(o.b))
	o.b = append(o.b, b[:n]...)
	o.more = o.more || n < len(b)
	return len(b), nil
}

// String is what was written, with dots in the place of what is left out.
func (o *probeOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := string(o.b)
	if o.more {
		b = b[:maxHealthOutput-3] + "..."
	}
	return strings.ToValidUTF8(b, "\uFFFD")
}

// steady holds off those who pause a container that has a health check, until done is called: a process that is paused while it sets itself
// up would hold up whoever starts it.
func (e *Engine) steady(ctx context.Context, c *Container) (done func(), err error) {
	if !c.Healthcheck.Probes() {
		return func() {}, nil
	}
	l, err := durable.Acquire(ctx, e.path(c.ID, "steady"), true)
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// beginProbes has this program execute the health check of a container that it runs in the foreground.
func (r *Run) beginProbes() {
	if !r.record.Healthcheck.Probes() || r.c.Keep != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.endProbes = cancel
	c := *r.record
	r.probing.Go(func() { r.e.probe(ctx, &c, r.c) })
}

// awaitProbes waits for the end of a probe that is under way when the container has ended.
func (r *Run) awaitProbes() {
	if r.endProbes != nil {
		r.endProbes()
	}
	r.probing.Wait()
}

// chooseWatcher notes whether a supervisor has to watch the container, and refuses one with a health check of its own that nobody would execute.
// One of the image is only warned of: the container is Starting until somebody supervises the folder.
func (r *Run) chooseWatcher(ctx context.Context, detached bool) error {
	e, c := r.e, r.record
	if !detached || !c.watched() {
		return nil
	}
	if e.options.StartSupervisor != nil || e.supervisorThere(ctx) {
		r.watched = true
		return nil
	}
	if c.Config.Healthcheck != nil {
		return fmt.Errorf("health check: a container in background needs a supervisor for it, and none is there: %w", errors.ErrUnsupported)
	}
	e.log.Warn("nobody executes the health check of a container's image until there is a supervisor", "id", c.ID)
	return nil
}

// probe executes the health check of a container in background, which may be about to start, while it is served.
func (s *supervisor) probe(id string, v *served) {
	pid, warned := v.proc.Pid(), false
	for nap := 2 * time.Millisecond; s.find(id) == v; nap = min(2*nap, time.Second) {
		c, err := readRecord(s.e.path(id))
		if err == nil && c.State.Status == Running && c.State.Pid == pid {
			if !c.State.Detached {
				return // by the program that runs it
			}
			var r *Run
			if r, err = s.e.Adopt(s.ctx, id); err == nil {
				s.e.probe(s.ctx, c, r.c)
				err = r.Leave()
				if err == nil {
					return
				}
			}
			if s.ctx.Err() == nil && !warned && s.find(id) == v {
				warned = true
				s.e.log.Warn("health check of a container", "id", id, "error", err)
			}
		}
		if !sleep(s.ctx, nap) {
			return
		}
	}
}
