package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/namespace"
)

// maxHookOutput is how much of what a hook prints an error shows, in bytes.
const maxHookOutput = 4096

// maxHookSeconds is the longest timeout: what more there is than a Duration can hold is as good as none.
const maxHookSeconds = math.MaxInt64 / int64(time.Second)

// hooks run a container's hooks.
type hooks struct {
	c       *command
	bundle  *bundle.Bundle
	process *namespace.Process // the container's first one, for the hooks that are executed in it
	group   *cgroups.Group     // and its control group, or nil
}

// run runs the hooks of a kind in order, and stops at the first one that fails: the error names it.
func (h *hooks) run(ctx context.Context, kind string, state *specs.State) error {
	for i := range h.bundle.Hooks(kind) {
		if err := h.one(ctx, kind, i, state); err != nil {
			return err
		}
	}
	return nil
}

// runAll runs all of them, whether they fail or not.
func (h *hooks) runAll(kind string, state *specs.State) (errs []error) {
	for i := range h.bundle.Hooks(kind) {
		if err := h.one(context.Background(), kind, i, state); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (h *hooks) one(ctx context.Context, kind string, i int, state *specs.State) error {
	hook := h.bundle.Hooks(kind)[i]
	inside := kind == "createContainer" || kind == "startContainer"
	out := &tail{}
	s := *state
	if inside { // as it is seen there
		s.Pid = h.insidePID()
	}
	stdin, err := json.Marshal(s)
	if err == nil && hook.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(int64(*hook.Timeout), maxHookSeconds))*time.Second)
		defer cancel()
	}
	if err == nil {
		switch kind {
		case "createContainer":
			err = h.inContainer(ctx, h.setUp(hook), stdin, out)
		case "startContainer":
			var l *namespace.Launch
			if l, err = h.contained(hook, state); err == nil {
				err = h.inContainer(ctx, l, stdin, out)
			}
		default:
			err = inRuntime(ctx, hook, h.bundle.Dir, stdin, out)
		}
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && hook.Timeout != nil {
		err = fmt.Errorf("it did not end within %d s: %w", *hook.Timeout, context.DeadlineExceeded)
	}
	if text := strings.TrimSpace(out.String()); text != "" {
		err = fmt.Errorf("%w, output: %s", err, text)
	}
	return &bundle.FieldError{Field: fmt.Sprintf("hooks.%s[%d]", kind, i), Err: fmt.Errorf("error running hook %s: %w", hook.Path, err)}
}

// A tail keeps the last that is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - maxHookOutput; over > 0 {
		t.Next(over)
	}
	return n, err
}

// inRuntime runs a hook in the runtime's own namespaces.
func inRuntime(ctx context.Context, hook specs.Hook, dir string, stdin []byte, out io.Writer) error {
	cmd := exec.CommandContext(ctx, hook.Path)
	if len(hook.Args) > 0 {
		cmd.Args = hook.Args
	}
	if _, err := os.Stat(dir); err != nil { // poststop may come when the bundle has gone
		dir = "/"
	}
	cmd.Dir, cmd.Env = dir, hook.Env // nil is the runtime's environment, as with runc
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return errors.Join(cmd.Process.Kill(), killSession(cmd.Process.Pid)) }
	cmd.WaitDelay = time.Second // for what it has left running with its output
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) || errors.Is(err, syscall.EPIPE) { // it has ended well, and need not read
		return nil
	}
	return err
}

// setUp is a program of the host's, with the credentials that the container's set-up has.
func (h *hooks) setUp(hook specs.Hook) *namespace.Launch {
	all := namespace.OwnCapabilities()
	if len(h.bundle.Spec.Linux.UIDMappings) > 0 {
		all = namespace.CapabilitySet(1)<<(namespace.LastCapability()+1) - 1
	}
	return &namespace.Launch{
		Path: hook.Path, Args: hook.Args, Env: hook.Env, NewPrivileges: true,
		Capabilities: namespace.Capabilities{Bounding: all, Effective: all, Permitted: all},
	}
}

// contained is a program of the image's, which gets no more than the container's process: its user, capabilities, filter and
// limits.
func (h *hooks) contained(hook specs.Hook, state *specs.State) (*namespace.Launch, error) {
	p := *h.bundle.Spec.Process
	p.Terminal, p.ConsoleSize, p.ExecCPUAffinity = false, nil, nil
	l, err := h.bundle.Process(&p, &bundle.Options{State: *state, KeepKeyring: true})
	if err != nil {
		return nil, err
	}
	l.Path, l.Args, l.Env = hook.Path, hook.Args, hook.Env
	return l, nil
}

// inContainer runs a hook in the container's namespaces.
func (h *hooks) inContainer(ctx context.Context, l *namespace.Launch, stdin []byte, out io.Writer) error {
	l.Namespaces = joined(h.bundle, h.process.PidFD())
	if l.Namespaces.Mount.Host {
		return errNoMountNamespace
	}
	if len(l.Args) == 0 {
		l.Args = []string{l.Path}
	}
	if h.group != nil {
		var err error
		if l.CgroupDir, l.CgroupTasks, err = h.group.Entry(); err != nil {
			return err
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in, feed, err := os.Pipe()
	if err != nil {
		_ = r.Close()
		_ = w.Close()
		return err
	}
	l.Stdin, l.Stdout, l.Stderr = in, w, w
	p, err := l.Start(ctx)
	_ = in.Close()
	_ = w.Close()
	if err != nil {
		_ = feed.Close()
		_ = r.Close()
		return err
	}
	defer p.Close()
	go func() {
		_, _ = feed.Write(stdin)
		_ = feed.Close()
	}()
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, r)
		close(read)
	}()
	state, err := p.Wait(ctx)
	if err != nil {
		_ = p.Signal(syscall.SIGKILL)
		_ = killSession(p.Pid())
		_, _ = p.Wait(context.Background())
	}
	_ = r.SetReadDeadline(time.Now().Add(time.Second))
	<-read
	_ = r.Close()
	_ = feed.Close()
	switch {
	case err != nil:
		return err
	case state.Signal != 0:
		return fmt.Errorf("signal: %v", syscall.Signal(state.Signal))
	case state.Code != 0:
		return fmt.Errorf("exit status %d", state.Code)
	}
	return nil
}

// insidePID is the first process's number in the container.
func (h *hooks) insidePID() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.process.Pid()))
	if err != nil {
		return h.process.Pid()
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(rest)
			var n int
			if _, err := fmt.Sscan(f[len(f)-1], &n); err == nil {
				return n
			}
		}
	}
	return h.process.Pid()
}

// joined are the namespaces of a container that runs, for another process in it.
func joined(b *bundle.Bundle, pidfd *os.File) namespace.Namespaces {
	join, host := namespace.Namespace{Join: pidfd}, namespace.Namespace{Host: true}
	n := namespace.Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}
	for _, x := range b.Spec.Linux.Namespaces {
		if field := bundle.NamespaceOf(&n, x.Type); field != nil {
			*field = join
		}
	}
	return n
}

// poststop runs the hooks that come after a deletion, all of them. What they do wrong changes nothing any more.
func (c *command) poststop(k *container) error {
	b := &bundle.Bundle{Dir: k.Bundle, Spec: &specs.Spec{Hooks: &specs.Hooks{Poststop: k.Poststop}}}
	for _, err := range (&hooks{c: c, bundle: b}).runAll("poststop", k.ociState(specs.StateStopped)) {
		c.warn("%v", err)
	}
	return nil
}
