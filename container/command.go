package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/namespace"
)

// Command returns a Process that runs args inside the running container: in its namespaces, control group and root,
// with its privileges. It never fails. Env, Dir, User, Groups, capabilities, Rlimits, Umask and Attributes are those
// of the container's own process; they may be changed before Start. The process ends with the container.
func (c *Container) Command(args ...string) *Process {
	return &Process{
		Args:          args,
		Env:           slices.Clone(c.Env),
		Dir:           c.Dir,
		User:          c.User,
		Groups:        slices.Clone(c.Groups),
		CapAdd:        slices.Clone(c.CapAdd),
		CapDrop:       slices.Clone(c.CapDrop),
		NewPrivileges: c.NewPrivileges,
		Rlimits:       slices.Clone(c.Rlimits),
		Umask:         c.Umask,
		OOMScoreAdj:   c.OOMScoreAdj,
		Capabilities:  c.Capabilities,
		Attributes:    c.Attributes,
		in:            c,
	}
}

// Start starts a command that [Container.Command] returned, and returns when it is being executed. ctx bounds the
// set-up: when it ends first, the start is undone. The error is a [*StartError], or says that Start was called
// before. After a success call Wait, which releases what the Process holds.
func (p *Process) Start(ctx context.Context) error {
	after, err := p.startUnwatched(ctx)
	if err != nil {
		return err
	}
	go p.watch(after)
	return nil
}

// startUnwatched starts the command. The caller is to call watch with after.
func (p *Process) startUnwatched(ctx context.Context) (after func(*State) error, err error) {
	if p.in == nil {
		return nil, errors.New("container: start: a Process is made by Container.Command")
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.io.abort()
		}
	}()
	if ctx.Err() != nil {
		return nil, &StartError{Step: "start", Path: p.String(), Err: context.Cause(ctx)}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	init, err := p.in.alive("execute " + p.String() + " in")
	if err != nil {
		return nil, &StartError{Step: "enter", Path: p.in.String(), Err: err}
	}
	if err := p.in.awaitSetUp(ctx, init); err != nil {
		return nil, err
	}
	l, err := p.launchIn(init)
	if err != nil {
		return nil, err
	}
	before, err := p.in.enter(l)
	if err != nil {
		return nil, err
	}
	defer p.in.endSetUp()
	// The number in the path above was the container's only if that has not ended since.
	if _, err := p.in.alive("enter"); err != nil {
		return nil, &StartError{Step: "enter", Path: p.in.String(), Err: err}
	}
	p.in.fork(ctx, init, l)
	if err := p.spawn(ctx, l, nil); err != nil {
		return nil, err
	}
	return func(s *State) error {
		s.OOMKilled = s.Signal == syscall.SIGKILL && p.in.oomKills() > before
		return nil
	}, nil
}

// setUpPatience bounds the wait for the set-up of a container that another program starts. One that takes the name of a process in its
// set-up has its commands refused after that.
const setUpPatience = 10 * time.Second

// awaitSetUp waits until the first process of a container that was adopted executes its command: before that it has the program's root, and
// what enters it then would be outside.
func (c *Container) awaitSetUp(ctx context.Context, init *namespace.Process) error {
	if !c.adopted.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, setUpPatience, errors.New("it is being set up"))
	defer cancel()
	if err := init.AwaitSetUp(ctx); err != nil {
		return &StartError{Step: "enter", Path: c.String(), Err: err}
	}
	c.adopted.Store(false) // a name that it takes later is nothing to wait for
	return nil
}

// launchIn translates a command in the container whose first process is init.
func (p *Process) launchIn(init *namespace.Process) (*namespace.Launch, error) {
	l, err := p.launch(p.in, namespace.Dir(fmt.Sprintf("/proc/%d/root", init.Pid())))
	if err != nil {
		return nil, err
	}
	l.Namespaces = p.in.joined()
	if l.AppArmor == "" && l.SELinux == "" {
		l.AppArmor, l.SELinux = p.in.AppArmor, p.in.SELinux
	}
	return l, nil
}

// Namespace returns the running container's namespaces, for a field of another one's Namespaces: it joins that kind of
// namespace. It may be used until Wait has returned. Before Start, and after the end, joining fails.
func (c *Container) Namespace() namespace.Namespace { return namespace.Namespace{Join: c.pidfd()} }

// joined returns all the container's namespaces, for a process that is executed in it.
func (c *Container) joined() namespace.Namespaces {
	return c.joinedBy(c.Namespace())
}

func (c *Container) joinedBy(join namespace.Namespace) namespace.Namespaces {
	own := c.Namespaces
	pick := func(n namespace.Namespace) namespace.Namespace {
		if n.Host {
			return n
		}
		return join
	}
	return namespace.Namespaces{
		Mount: pick(own.Mount), PID: pick(own.PID), Network: pick(own.Network),
		IPC: pick(own.IPC), UTS: pick(own.UTS), Cgroup: pick(own.Cgroup),
		User: joinIf(join, len(c.uids) > 0 || own.User.Join != nil), Time: joinIf(join, c.TimeOffsets != nil || own.Time.Join != nil),
	}
}

func (c *Container) pidfd() *os.File {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	if c.run.proc == nil {
		return nil
	}
	return c.run.proc.PidFD()
}

// enter makes the process of l start in the container's control group. It returns how often the OOM killer came before.
// After a success the caller is to call endSetUp.
func (c *Container) enter(l *namespace.Launch) (oomKills uint64, err error) {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	switch {
	case c.group != nil:
	case c.NoCgroup || c.ungrouped:
		return 0, c.beginSetUp()
	default:
		return 0, &StartError{Step: "enter control group", Path: c.Cgroup, Err: errNoGroup}
	}
	oomKills, _ = c.group.OOMKills() // 0 where they are not counted
	if err := enter(c.group, l); err != nil {
		return 0, err
	}
	return oomKills, c.beginSetUp()
}

// oomKills returns how often the OOM killer has come, until the container's end at most.
func (c *Container) oomKills() uint64 {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	if c.group == nil {
		return c.oomAtEnd
	}
	n, _ := c.group.OOMKills()
	return n
}

// Run starts the command and waits for it. When ctx ends while it runs, it gets StopSignal, and is killed WaitDelay
// later if it has not ended; the [*ExitError] then has ctx's error as its cause. What the command has started may go on in the
// container: set a WaitDelay, for it may hold the pipes, and see [Process.KillGroup].
func (p *Process) Run(ctx context.Context) error {
	after, err := p.startUnwatched(ctx)
	if err != nil {
		return err
	}
	return p.runOn(ctx, after, p.Kill, func() {})
}

// Output runs the command as Run does and returns its standard output. If Stderr is nil, an [*ExitError] gets the
// standard error.
func (p *Process) Output(ctx context.Context) ([]byte, error) { return p.output(ctx, p.Run) }

// CombinedOutput runs the command as Run does and returns its standard output and error in one.
func (p *Process) CombinedOutput(ctx context.Context) ([]byte, error) {
	return p.combinedOutput(ctx, p.Run)
}
