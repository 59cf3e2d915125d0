package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/internal/plainjson"
	"github.com/caisson-engine/caisson/namespace"
)

var execVerb = verb{
	name: "exec", args: "[options] CONTAINER-ID COMMAND [ARG...]",
	about: "execute another process in a container",
	run:   (*command).exec,
}

// execOptions are those of exec.
type execOptions struct {
	createOptions
	process      string
	cwd, user    string
	env, caps    list
	groups       list
	tty          bool
	noNewPrivs   *bool
	apparmor     string
	label        string
	cgroups      list
	ignorePaused bool
}

func (o *execOptions) flags(f *flag.FlagSet) {
	text := func(to *string, about string, names ...string) {
		for _, n := range names {
			f.StringVar(to, n, "", about)
		}
	}
	many := func(to *list, about string, names ...string) {
		for _, n := range names {
			f.Var(to, n, about)
		}
	}
	yes := func(to *bool, about string, names ...string) {
		for _, n := range names {
			f.BoolVar(to, n, false, about)
		}
	}
	text(&o.consoleSocket, "unix socket that gets the terminal's other end", "console-socket")
	text(&o.pidfdSocket, "unix socket that gets a descriptor of the process", "pidfd-socket")
	text(&o.cwd, "working directory", "cwd")
	many(&o.env, "name=value of the environment", "env", "e")
	yes(&o.tty, "give it a terminal", "tty", "t")
	text(&o.user, "UID[:GID]", "user", "u")
	many(&o.groups, "additional gid", "additional-gids", "g")
	text(&o.process, "file with the process in JSON", "process", "p")
	yes(&o.detach, "do not wait for the end", "detach", "d")
	text(&o.pidFile, "file for the process's number", "pid-file")
	text(&o.label, "SELinux context", "process-label")
	text(&o.apparmor, "AppArmor profile", "apparmor")
	f.BoolFunc("no-new-privs", "do not let it gain privileges", func(s string) error {
		b, err := strconv.ParseBool(s)
		o.noNewPrivs = &b
		return err
	})
	many(&o.caps, "a capability more", "cap", "c")
	f.IntVar(&o.preserve, "preserve-fds", 0, "how many descriptors from 3 on the process gets")
	many(&o.cgroups, "group below the container's: PATH, or on v1 CONTROLLER[,CONTROLLER]:PATH", "cgroup")
	yes(&o.ignorePaused, "wait until a paused container is resumed", "ignore-paused")
	f.Bool("no-subreaper", false, "ignored: the command is the process's parent itself")
}

func (c *command) exec(args []string) error {
	o := &execOptions{}
	f := c.flags("exec")
	o.flags(f)
	if err := c.parse(f, args, 1, -1); err != nil {
		return err
	}
	if f.NArg() < 2 && o.process == "" {
		return errors.New("process args cannot be empty")
	}
	status, err := c.execIn(f.Arg(0), f.Args()[1:], o)
	if err != nil {
		return &exitStatus{255, fmt.Errorf("exec failed: %w", err)}
	}
	if status != 0 {
		return &exitStatus{code: status}
	}
	return nil
}

// execIn returns the exit status of the process, or 0 if it is detached.
func (c *command) execIn(id string, args []string, o *execOptions) (int, error) {
	ctx := context.Background()
	k, err := c.open(id)
	if err != nil {
		return 0, err
	}
	switch status, err := k.status(); {
	case err != nil:
		return 0, err
	case status == specs.StateStopped:
		return 0, errors.New("cannot exec in a stopped container")
	case status == ocistate.Paused && !o.ignorePaused:
		return 0, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	b, err := k.bundle()
	if err != nil {
		return 0, err
	}
	p, err := o.spec(b.Spec.Process, args)
	if err != nil {
		return 0, err
	}
	if err := o.files.open(p.Terminal, &o.createOptions); err != nil {
		return 0, err
	}
	var forward *forwarding
	if !o.detach {
		if forward, err = catch(); err != nil {
			return 0, err
		}
		if !c.ends {
			defer forward.stop()
		}
	}
	proc, err := k.enter(ctx, b, p, o)
	if err != nil {
		return 0, execError(bundle.Explain(err), p)
	}
	defer proc.Close()
	if err := o.tell(proc); err != nil {
		_ = proc.Signal(syscall.SIGKILL)
		_, _ = proc.Wait(ctx)
		return 0, err
	}
	if o.detach {
		return 0, nil
	}
	return wait(ctx, proc, forward)
}

// tell hands out the terminal and writes the number down.
func (o *execOptions) tell(proc *namespace.Process) error {
	if tty := proc.TTY(); tty != nil && o.detach {
		err := sendTerminal(o.consoleSocket, tty)
		_ = tty.Close()
		if err != nil {
			return err
		}
	}
	if err := sendPidfd(o.pidfdSocket, proc.Pid()); err != nil {
		return err
	}
	return writePID(o.pidFile, proc.Pid())
}

// enter starts the process in the container.
func (k *container) enter(ctx context.Context, b *bundle.Bundle, p *specs.Process, o *execOptions) (*namespace.Process, error) {
	l, err := b.Process(p, &bundle.Options{State: *k.ociState(specs.StateRunning), KeepKeyring: true})
	if err != nil {
		return nil, err
	}
	init, err := namespace.FindProcess(k.InitProcessPid)
	if err != nil {
		return nil, errors.New("cannot exec in a stopped container")
	}
	defer init.Close()
	l.Namespaces = joined(b, init.PidFD())
	if l.Namespaces.Mount.Host {
		return nil, hook.ErrNoMountNamespace
	}
	bundle.Home(l, namespace.Dir(fmt.Sprintf("/proc/%d/root", init.Pid())))
	o.files.use(l)
	if len(k.Group) > 0 {
		dirs, err := k.groupsFor(o.cgroups)
		if err != nil {
			return nil, err
		}
		manager, err := cgroups.Detect()
		if err != nil {
			return nil, err
		}
		defer manager.Close()
		g, err := manager.OpenPaths(dirs)
		if err != nil {
			return nil, err
		}
		defer g.Close()
		if l.CgroupDir, l.CgroupTasks, err = g.Entry(); err != nil {
			return nil, err
		}
	}
	// The number was the container's only if that has not ended since.
	if err := k.Alive(); err != nil {
		return nil, errors.New("cannot exec in a stopped container")
	}
	return l.Start(ctx)
}

// groupsFor returns the folders of the container's control group, or of those below it that --cgroup names.
func (k *container) groupsFor(names []string) ([]string, error) {
	if len(names) == 0 {
		return k.Group, nil
	}
	var dirs []string
	below := func(dir, sub string) {
		dirs = append(dirs, path.Join(dir, path.Clean("/"+sub)))
	}
	for _, n := range names {
		controllers, sub, ok := strings.Cut(n, ":")
		if !ok {
			for _, dir := range k.CgroupPaths {
				below(dir, n)
			}
			continue
		}
		for name := range strings.SplitSeq(controllers, ",") {
			dir, ok := k.CgroupPaths[name]
			if !ok {
				return nil, fmt.Errorf("unknown controller %s in --cgroup %s", name, n)
			}
			below(dir, sub)
		}
	}
	if len(k.CgroupPaths) > 1 { // where nothing is said, it is the container's own
		for _, dir := range k.CgroupPaths {
			if !slices.ContainsFunc(dirs, func(d string) bool { return d == dir || strings.HasPrefix(d, dir+"/") }) {
				dirs = append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// spec is the process that is to be executed: of a file, or the container's own with what options change.
func (o *execOptions) spec(own *specs.Process, args []string) (*specs.Process, error) {
	if o.process != "" {
		b, err := os.ReadFile(o.process)
		if err != nil {
			return nil, err
		}
		p := &specs.Process{}
		if err := plainjson.Unmarshal(b, p); err != nil {
			return nil, fmt.Errorf("%s: %w", o.process, err)
		}
		if o.tty {
			p.Terminal = true
		}
		return p, nil
	}
	p := *own
	p.Args, p.Terminal = args, o.tty
	p.Env = append(slices.Clone(own.Env), o.env...)
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	if o.apparmor != "" {
		p.ApparmorProfile = o.apparmor
	}
	if o.label != "" {
		p.SelinuxLabel = o.label
	}
	if o.noNewPrivs != nil {
		p.NoNewPrivileges = *o.noNewPrivs
	}
	if len(o.caps) > 0 {
		p.Capabilities = withCapabilities(own.Capabilities, o.caps)
	}
	return &p, o.setUser(&p)
}

// withCapabilities adds capabilities to all sets but the inheritable one, as runc does.
func withCapabilities(c *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	sets := specs.LinuxCapabilities{}
	if c != nil {
		sets = *c
	}
	for _, set := range []*[]string{&sets.Bounding, &sets.Effective, &sets.Permitted, &sets.Ambient} {
		*set = append(slices.Clone(*set), more...)
	}
	return &sets
}

func (o *execOptions) setUser(p *specs.Process) error {
	id := func(what, s string) (uint32, error) {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return 0, fmt.Errorf("parsing %s as int for %s failed", s, what)
		}
		return uint32(n), nil
	}
	if o.user != "" {
		uid, gid, both := strings.Cut(o.user, ":")
		var err error
		if p.User.UID, err = id("uid", uid); err != nil {
			return err
		}
		if both {
			if p.User.GID, err = id("gid", gid); err != nil {
				return err
			}
		}
	}
	p.User.AdditionalGids = slices.Clone(p.User.AdditionalGids)
	for _, g := range o.groups {
		n, err := id("additional gid", g)
		if err != nil {
			return err
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, n)
	}
	return nil
}
