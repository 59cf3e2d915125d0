package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/namespace"
)

// maxOutput is how much of what a hook prints an error shows, in bytes.
const maxOutput = 4096

// one runs a hook.
func (r *Runner) one(ctx context.Context, kind string, i int, state *specs.State) error {
	hook := Of(r.Hooks, kind)[i]
	s := *state
	if kind == "createContainer" || kind == "startContainer" { // as it is seen there
		s.Pid = r.insidePID()
	}
	stdin, err := json.Marshal(s)
	if err == nil && hook.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout(&hook), errLate)
		defer cancel()
	}
	out := &tail{}
	if err == nil {
		err = r.execute(ctx, kind, hook, stdin, out)
	}
	if err == nil {
		return nil
	}
	if context.Cause(ctx) == errLate {
		err = fmt.Errorf("it did not end within %d s: %w", *hook.Timeout, context.DeadlineExceeded)
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &Error{Kind: kind, Index: i, Path: hook.Path, Output: strings.TrimSpace(out.String()), Err: err}
}

var errLate = errors.New("the hook's time is over")

func (r *Runner) execute(ctx context.Context, kind string, hook specs.Hook, stdin []byte, out io.Writer) error {
	switch kind {
	case "createContainer":
		return r.inContainer(ctx, r.setUp(hook), stdin, out)
	case "startContainer":
		l, err := r.Contained()
		if err != nil {
			return err
		}
		l.Path, l.Args, l.Env = hook.Path, hook.Args, hook.Env
		return r.inContainer(ctx, l, stdin, out)
	}
	return r.inRuntime(ctx, hook, stdin, out)
}

// A tail keeps the last that is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - maxOutput; over > 0 {
		t.Next(over)
	}
	return n, err
}

// inRuntime runs a hook in the program's own namespaces.
func (r *Runner) inRuntime(ctx context.Context, hook specs.Hook, stdin []byte, out io.Writer) error {
	cmd := exec.CommandContext(ctx, hook.Path)
	if len(hook.Args) > 0 {
		cmd.Args = hook.Args
	}
	cmd.Dir, cmd.Env = r.Dir, hook.Env // nil is the program's environment, as with runc
	if _, err := os.Stat(cmd.Dir); err != nil {
		cmd.Dir = "/" // poststop may come when the bundle has gone
	}
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
func (r *Runner) setUp(hook specs.Hook) *namespace.Launch {
	all := namespace.OwnCapabilities()
	if r.Mapped {
		all = namespace.CapabilitySet(1)<<(namespace.LastCapability()+1) - 1
	}
	return &namespace.Launch{
		Path: hook.Path, Args: hook.Args, Env: hook.Env, NewPrivileges: true,
		Capabilities: namespace.Capabilities{Bounding: all, Effective: all, Permitted: all},
	}
}

// ErrNoMountNamespace is returned for what would have to enter the root of a container that shares the host's mounts.
var ErrNoMountNamespace = errors.New("the container has no mount namespace of its own that could be entered")

// inContainer runs a hook in the container's namespaces.
func (r *Runner) inContainer(ctx context.Context, l *namespace.Launch, stdin []byte, out io.Writer) error {
	if l.Namespaces = r.Namespaces; l.Namespaces.Mount.Host {
		return ErrNoMountNamespace
	}
	if len(l.Args) == 0 {
		l.Args = []string{l.Path}
	}
	if r.Group != nil {
		var err error
		if l.CgroupDir, l.CgroupTasks, err = r.Group.Entry(); err != nil {
			return err
		}
	}
	output, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in, feed, err := os.Pipe()
	if err != nil {
		_ = output.Close()
		_ = w.Close()
		return err
	}
	l.Stdin, l.Stdout, l.Stderr = in, w, w
	p, err := l.Start(ctx)
	_ = in.Close()
	_ = w.Close()
	if err != nil {
		_ = feed.Close()
		_ = output.Close()
		return err
	}
	defer p.Close()
	go func() {
		_, _ = feed.Write(stdin)
		_ = feed.Close()
	}()
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(out, output)
		close(read)
	}()
	state, err := p.Wait(ctx)
	if err != nil {
		_ = p.Signal(syscall.SIGKILL)
		_ = killSession(p.Pid())
		_, _ = p.Wait(context.Background())
	}
	_ = output.SetReadDeadline(time.Now().Add(time.Second))
	<-read
	_ = output.Close()
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
func (r *Runner) insidePID() int {
	pid := r.Process.Pid()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return pid
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
	return pid
}
