package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/namespace"
)

var createVerb = verb{
	name: "create", args: "[options] CONTAINER-ID",
	about: "create a container, whose process waits for start",
	run:   (*command).create,
}

// createOptions are those that create and run share.
type createOptions struct {
	bundle        string
	consoleSocket string
	pidfdSocket   string
	pidFile       string
	keepKeyring   bool
	preserve      int
	detach        bool // the terminal, if there is one, goes to consoleSocket
	start         bool // the process need not wait for start: see making.starts

	files files // of the first process
}

func (o *createOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.bundle, "bundle", ".", "folder of the bundle")
	f.StringVar(&o.bundle, "b", ".", "folder of the bundle")
	f.StringVar(&o.consoleSocket, "console-socket", "", "unix socket that gets the terminal's other end")
	f.StringVar(&o.pidfdSocket, "pidfd-socket", "", "unix socket that gets a descriptor of the first process")
	f.StringVar(&o.pidFile, "pid-file", "", "file for the number of the first process")
	f.BoolVar(&o.keepKeyring, "no-new-keyring", false, "leave the container the caller's session keyring")
	f.IntVar(&o.preserve, "preserve-fds", 0, "how many descriptors from 3 on the container gets")
	f.Bool("no-pivot", false, "ignored: nothing of the host is below the root in any case")
}

func (c *command) create(args []string) error {
	o := &createOptions{detach: true}
	f := c.flags("create")
	o.flags(f)
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	k, proc, err := c.make(f.Arg(0), o)
	if err != nil {
		return fmt.Errorf("runc create failed: %w", err)
	}
	_ = proc.Close()
	return k.close()
}

// make creates a container, whose process waits. The caller closes both, the container being locked. If it fails, nothing is
// left.
func (c *command) make(id string, o *createOptions) (_ *container, _ *namespace.Process, err error) {
	config, dir, err := bundle.Read(o.bundle)
	if err != nil {
		return nil, nil, err
	}
	m := &making{options: o}
	m.foresee(config)
	defer func() { m.prepared.Close() }()
	b, err := bundle.Parse(config, dir)
	if err != nil {
		return nil, nil, err
	}
	m.bundle = b
	m.prepareStart()
	if err := o.files.open(b.Spec.Process.Terminal, o); err != nil {
		return nil, nil, err
	}
	if b.Spec.Root.Path, err = filepath.EvalSymlinks(b.Rootfs()); err != nil {
		return nil, nil, &bundle.FieldError{Field: "root.path", Err: err}
	}
	k, err := c.claim(id, b)
	if err != nil {
		return nil, nil, err
	}
	m.container = k
	err = k.noteMounts()
	var proc *namespace.Process
	if err == nil {
		proc, err = m.run()
	}
	defer m.devices.Close()
	if err != nil {
		m.devices.Back()
		m.undo()
		return nil, nil, err
	}
	k.started = m.starts()
	return k, proc, nil
}

// A making is a container that is being created.
type making struct {
	*container
	bundle   *bundle.Bundle
	options  *createOptions
	rest     *groupRest             // of the control group, which is made while the process is; or nil
	place    *namespace.Placeholder // in the scope, if systemd makes one
	scope    *cgroups.Scope
	pids     int64               // the limit of the number of processes in the scope
	state    *ocistate.Pending   // written, and to be shown
	prepared *namespace.Prepared // or nil
	devices  *bundle.MovedDevices
	hooked   bool // hooks were run: those of poststop are to be run too
}

func (m *making) run() (proc *namespace.Process, err error) {
	ctx := context.Background()
	defer func() { _ = m.leaveScope() }()
	if err := m.makeGroup(m.bundle); err != nil {
		return nil, err
	}
	defer func() { // if the start fails before it asks for the rest
		_ = m.restOfGroup()
		m.abortGroup()
	}()
	launch := bundle.Options{State: *m.ociState(specs.StateCreating), KeepKeyring: m.options.keepKeyring}
	switch {
	case m.rest != nil:
		launch.Hierarchies, launch.Groups = m.manager.Hierarchies(), m.rest.Paths()
	case m.group != nil:
		launch.Hierarchies, launch.Groups = m.manager.Hierarchies(), m.group.Paths()
	}
	l, err := m.bundle.Launch(&launch)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	bundle.Home(l.Launch, l.Root)
	m.options.files.use(l.Launch)
	if slices.ContainsFunc(l.Mounts, func(m namespace.Mount) bool { return m.CopyUp }) { // which is done in the group before
		if err := m.restOfGroup(); err != nil {
			return nil, err
		}
		m.rest = nil
	}
	switch {
	case m.rest != nil:
		l.CgroupDir, l.CgroupPaths = m.rest.Entry()
	case m.group != nil:
		if l.CgroupDir, l.CgroupTasks, err = m.group.Entry(); err != nil {
			return nil, err
		}
	}
	l.Created, l.Prepared = m.created, m.prepared
	if len(m.bundle.Spec.Linux.NetDevices) > 0 || hook.Any(m.bundle.Spec.Hooks, "prestart", "createRuntime", "createContainer") {
		l.BeforeRoot = func(p *namespace.Process) error { return m.beforeRoot(ctx, p) }
	}
	if m.starts() {
		proc, err = l.StartReady(ctx, m.finish)
	} else {
		proc, err = l.Park(ctx, m.folder.Path())
	}
	if err != nil {
		if e := m.restOfGroup(); e != nil {
			return nil, e
		}
		return nil, initError(l.Explain(err), m.bundle.Spec.Process)
	}
	if err = m.leaveScope(); err == nil && !m.starts() {
		err = m.finish(proc)
	}
	if err != nil {
		_ = proc.Signal(syscall.SIGKILL)
		_, _ = proc.Wait(ctx)
		_ = proc.Close()
		return nil, err
	}
	return proc, nil
}

// starts says whether the process executes its command as soon as the container is known: nothing is to be done between that and a start.
func (m *making) starts() bool {
	return m.options.start && m.NoStartHooks && !m.bundle.Spec.Process.Terminal && m.scope == nil
}

// created is called when the process exists and begins to set itself up.
func (m *making) created(p *namespace.Process) error {
	switch {
	case m.rest != nil:
		if err := m.restOfGroup(); err != nil {
			return err
		}
		if err := p.JoinCgroups(); err != nil {
			return err
		}
	case m.group == nil:
		if err := m.folder.NoteProcess(p.Pid()); err != nil {
			return err
		}
	}
	if err := m.folder.WriteFile(ocistate.ConfigFile, m.bundle.Config); err != nil || m.bundle.Spec.Process.Terminal {
		return err // the state of one with a terminal names that
	}
	return m.prepare(p)
}

// prepare writes the state, which is shown when the process waits.
func (m *making) prepare(p *namespace.Process) (err error) {
	if err := m.SetProcess(p.Pid()); err != nil {
		return err
	}
	if m.options.detach { // others start it, or delete it
		if err := m.noteEarly(); err != nil {
			return err
		}
	}
	m.state, err = m.folder.Prepare(m.State)
	return err
}

// beforeRoot runs the hooks that come before the process enters its root.
func (m *making) beforeRoot(ctx context.Context, p *namespace.Process) error {
	m.InitProcessPid = p.Pid()
	var err error
	if m.devices, err = m.bundle.MoveNetDevices(p.Pid()); err != nil {
		return err
	}
	m.hooked = true
	state := m.ociState(specs.StateCreating)
	h := hooks(m.bundle, p, m.group, state)
	for _, kind := range []string{"prestart", "createRuntime", "createContainer"} {
		if err := runHooks(ctx, h, kind, state); err != nil {
			return err
		}
	}
	return nil
}

// finish makes the container known.
func (m *making) finish(proc *namespace.Process) error {
	if m.state == nil {
		if err := m.prepare(proc); err != nil {
			return err
		}
	}
	if tty := proc.TTY(); tty != nil && m.options.detach {
		err := sendTerminal(m.options.consoleSocket, tty)
		_ = tty.Close()
		if err != nil {
			return err
		}
	}
	if err := sendPidfd(m.options.pidfdSocket, proc.Pid()); err != nil {
		return err
	}
	if err := m.state.Commit(); err != nil {
		return err
	}
	return writePID(m.options.pidFile, proc.Pid())
}

// undo removes what was made.
func (m *making) undo() {
	if m.hooked {
		m.c.warnHooks(hooks(m.bundle, nil, nil, nil), "poststop", m.ociState(specs.StateStopped))
	}
	if err := m.discard(); err != nil {
		m.c.warn("undo: %v", err)
	}
}

// writePID writes the file that a caller reads the number from: whole, or not at all.
func writePID(name string, pid int) error {
	if name == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_SYNC, 0o666)
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// initError says what kept a container's first process from starting, in the words of runc, which callers look for.
func initError(err error, p *specs.Process) error {
	return startError("unable to start container process: error during container init: ", err, p)
}

// execError does so for another process.
func execError(err error, p *specs.Process) error {
	return startError("unable to start container process: ", err, p)
}

func startError(prefix string, err error, p *specs.Process) error {
	var start *namespace.StartError
	if !errors.As(err, &start) {
		return fmt.Errorf("unable to start container process: %w", err)
	}
	text := ""
	missing := errors.Is(start.Err, syscall.ENOENT)
	switch {
	case start.Step == "execve" && missing && start.Path == p.Args[0] && filepath.Base(start.Path) == start.Path:
		text = fmt.Sprintf("exec: %q: executable file not found in $PATH", start.Path)
	case start.Step == "execve" && missing:
		text = fmt.Sprintf("exec: %q: stat %s: no such file or directory", start.Path, start.Path)
	case start.Step == "execve":
		text = fmt.Sprintf("exec: %q: %v", start.Path, start.Err)
	case start.Step == "chdir" || start.Step == "getcwd" || start.Step == "check working directory":
		text = fmt.Sprintf("chdir to cwd (%q) set in config.json failed: %v", start.Path, start.Err)
		if start.Step == "check working directory" {
			text = fmt.Sprintf("current working directory (%q) is outside of container mount namespace root -- possible container breakout detected", start.Path)
		}
	default:
		return fmt.Errorf("%s%w", prefix, err)
	}
	return &spoken{prefix + text, err}
}

// A spoken error is another one in other words.
type spoken struct {
	text string
	err  error
}

func (e *spoken) Error() string { return e.text }
func (e *spoken) Unwrap() error { return e.err }

// errStopped and errRunning are what start says, in runc's words.
var (
	errStopped = errors.New("cannot start a container that has stopped")
	errRunning = errors.New("cannot start an already running container")
)

// lockToStart finds a container that waits to be started.
func (c *command) lockToStart(id string) (*container, error) {
	k, err := c.lock(id)
	if err != nil {
		return nil, err
	}
	status, err := k.status()
	switch {
	case err != nil:
	case status == specs.StateStopped:
		err = errStopped
	case status == ocistate.Paused:
		err = errRunning
	case !namespace.Parked(k.folder.Path()):
		k.removePipes() // a start that was killed may have left them
		err = errRunning
	}
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}
