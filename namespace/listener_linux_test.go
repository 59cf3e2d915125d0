package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() {
	programs["notified"] = notified
	programs["mkdir"] = mkdir
}

// listened makes l a launch whose filter notifies of the calls; of all if there are none.
func listened(t *testing.T, l *Launch, calls ...string) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActNotify, Flags: []specs.LinuxSeccompFlag{}}
	if len(calls) > 0 {
		p.DefaultAction = specs.ActAllow
		p.Syscalls = []specs.LinuxSyscall{{Names: calls, Action: specs.ActNotify}}
	}
	filter, err := seccomp.Compile(p, nil)
	require.NoError(t, err)
	l.Seccomp, l.SeccompFlags = filter, seccomp.FlagNewListener
}

// TestListener answers calls in each way there is.
func TestListener(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "notified")), "notified")
	listened(t, l, "mkdirat", "getppid", "openat2", "dup2", "dup3")
	host, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer host.Close()
	_, err = host.WriteString("of the host")
	require.NoError(t, err)
	// A signal of Go's scheduler may interrupt a call, which comes again then, even when its answer has been taken.
	answered := map[string]bool{}
	done := make(chan error, 1)
	answer := func(c *SeccompCall) error {
		if c.Pid <= 1 {
			return fmt.Errorf("call of process %d", c.Pid)
		}
		answered[fmt.Sprint(c.Number)] = true
		switch c.Number {
		case unix.SYS_GETPPID:
			return c.Return(4242)
		case unix.SYS_OPENAT2:
			_, err := host.Seek(0, io.SeekStart)
			return errors.Join(err, c.ReturnFile(host, nil))
		case unix.SYS_DUP3:
			_, err := host.Seek(0, io.SeekStart)
			n, adding := c.AddFile(host, &AddFileOptions{At: 77, Inherit: true})
			return errors.Join(err, adding, c.Return(int64(n)))
		}
		name, err := c.ReadString(c.Args[1], 4096)
		if err != nil {
			return err
		}
		answered[name] = true
		if _, err := c.ReadString(c.Args[1], len(name)-1); !errors.Is(err, syscall.ENAMETOOLONG) {
			return fmt.Errorf("too long: %w", err)
		}
		if _, err := c.ReadMemory(make([]byte, 8), 8); !errors.Is(err, syscall.EFAULT) {
			return fmt.Errorf("address 8: %w", err)
		}
		switch name {
		case "/refused":
			return c.Fail(syscall.EDQUOT)
		case "/pretended":
			return c.Return(0)
		}
		return errors.Join(c.Err(), c.Continue())
	}
	l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
		go func() {
			defer n.Close()
			for {
				c, err := n.Receive(context.Background())
				if err == nil {
					err = answer(c)
					if errors.Is(err, os.ErrProcessDone) {
						continue
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
		return nil
	}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, io.EOF, <-done)
	want := map[string]bool{"/refused": true, "/pretended": true, "/continued": true}
	for _, number := range []int{unix.SYS_MKDIRAT, unix.SYS_GETPPID, unix.SYS_OPENAT2, unix.SYS_DUP3} {
		want[fmt.Sprint(number)] = true
	}
	require.Equal(t, want, answered)
}

// notified is a helper program that says how its calls ended.
func notified([]string) int {
	fail := func(a ...any) int { fmt.Fprintln(os.Stderr, a...); return 1 }
	if err := unix.Mkdir("/refused", 0o755); err != unix.EDQUOT {
		return fail("refused:", err)
	}
	if err := unix.Mkdir("/pretended", 0o755); err != nil {
		return fail("pretended:", err)
	}
	if _, err := os.Stat("/pretended"); err == nil {
		return fail("pretended is there")
	}
	if err := unix.Mkdir("/continued", 0o755); err != nil {
		return fail("continued:", err)
	}
	if _, err := os.Stat("/continued"); err != nil {
		return fail(err)
	}
	if pid := unix.Getppid(); pid != 4242 {
		return fail("getppid:", pid)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/x", &unix.OpenHow{})
	if err != nil {
		return fail("openat2:", err)
	}
	moved, _, errno := unix.Syscall(unix.SYS_DUP3, 0, 1, 0)
	if errno != 0 || moved != 77 {
		return fail("dup3:", errno, moved)
	}
	for _, n := range []int{fd, int(moved)} {
		b := make([]byte, 100)
		n, err := unix.Pread(n, b, 0)
		if err != nil || string(b[:n]) != "of the host" {
			return fail("pread:", err, string(b[:n]))
		}
	}
	return 0
}

// TestListenerOfAll notifies of every call that the process makes once it has the filter: those of the set-up too, in both
// orders.
func TestListenerOfAll(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "mkdir")
	for _, privileges := range []bool{false, true} {
		l := defaultLaunch(Dir(dir), "mkdir", "/new")
		l.NewPrivileges = privileges
		listened(t, l)
		seen := make(chan map[int]int, 1)
		l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
			go func() {
				defer n.Close()
				calls := map[int]int{}
				for {
					c, err := n.Receive(context.Background())
					if err != nil {
						seen <- calls
						return
					}
					calls[c.Number]++
					if c.Number == unix.SYS_MKDIRAT {
						_ = c.Fail(syscall.EDQUOT)
					} else {
						_ = c.Continue()
					}
				}
			}()
			return nil
		}
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		require.Equal(t, "disk quota exceeded\n", out)
		calls := <-seen
		require.NotZero(t, calls[unix.SYS_EXECVE])
		require.NotZero(t, calls[unix.SYS_EXIT_GROUP])
		require.Equal(t, privileges, calls[unix.SYS_CAPSET] > 0)
	}
}

// mkdir is a helper program.
func mkdir(args []string) int {
	if err := unix.Mkdir(args[1], 0o755); err != nil {
		fmt.Println(err)
	}
	return 0
}

// TestListenerFails: what goes wrong with the listener undoes the start.
func TestListenerFails(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "mkdir")), "mkdir", "/new")
	run(t, l) // without a filter
	listened(t, l, "mkdirat")
	before := descriptors(t)
	start := func(ctx context.Context, step string) {
		t.Helper()
		p, err := l.Start(ctx)
		require.Nil(t, p)
		var start *StartError
		require.ErrorAs(t, err, &start)
		require.Equal(t, step, start.Step)
		require.Equal(t, before, descriptors(t))
	}
	start(t.Context(), "check") // nobody for the listener
	l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
		return errors.Join(n.Close(), errors.New("nobody is interested"))
	}
	start(t.Context(), "hand over")
	l.SeccompFlags = 0
	start(t.Context(), "check") // no listener
	l.SeccompFlags = seccomp.FlagNewListener
	ctx, cancel := context.WithCancel(t.Context())
	l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
		cancel()
		return n.Close()
	}
	start(ctx, "start")
	l.SeccompNotify = func(_ context.Context, n *SeccompListener) error { return n.Close() }
	l.Created = func(*Process) error { return errors.New("no") }
	_, err := l.Start(t.Context())
	require.EqualError(t, err, "no")
	l.Created = func(p *Process) error { return p.Signal(syscall.SIGKILL) }
	start(t.Context(), "set up")
	l.Created = nil

	// Each step fails in turn from the loading of the filter on.
	p, err := l.Program()
	require.NoError(t, err)
	failed := 0
	for k := range p.Len() {
		if p.steps[k].name != "seccomp" && failed == 0 {
			continue
		}
		l.edit = func(p *Program) {
			s := &p.steps[k]
			s.op, s.n, s.first, s.fail = opFail, 1, len(p.args), 0
			p.args = append(p.args, num(int(syscall.EUCLEAN)))
		}
		proc, err := l.Start(t.Context())
		if err == nil { // a step that this start does not come to
			_, err = proc.Wait(t.Context())
			require.NoError(t, errors.Join(err, proc.Close()))
			continue
		}
		require.ErrorIs(t, err, syscall.EUCLEAN, "step %d of %d: %s", k, p.Len(), p.steps[k].name)
		failed++
	}
	require.Greater(t, failed, 3)
	require.Equal(t, before, descriptors(t))
}

// TestListenerEnd closes the listener, ends the waiting for a call, and ends the process that waits.
func TestListenerEnd(t *testing.T) {
	testenv.RequireRoot(t)
	dir := testenv.NewRootfs(t, "mkdir")
	begin := func() (*Process, *SeccompListener, *os.File) {
		l := defaultLaunch(Dir(dir), "mkdir", "/new")
		listened(t, l, "mkdirat")
		r, w, err := os.Pipe()
		require.NoError(t, err)
		l.Stdout = w
		var listener *SeccompListener
		l.SeccompNotify = func(_ context.Context, n *SeccompListener) error { listener = n; return nil }
		p, err := l.Start(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return p, listener, r
	}
	p, listener, out := begin()
	defer p.Close()
	defer out.Close()
	c, err := listener.Receive(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Err())
	require.Equal(t, unix.SYS_MKDIRAT, c.Number)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = listener.Receive(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	closed := make(chan error, 1)
	go func() {
		_, err := listener.Receive(context.Background())
		closed <- err
	}()
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, listener.Close())
	require.ErrorIs(t, <-closed, os.ErrClosed)
	_, err = listener.Receive(context.Background())
	require.ErrorIs(t, err, os.ErrClosed)
	require.Error(t, c.Return(0))
	b, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Equal(t, "function not implemented\n", string(b))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)

	p, listener, out = begin()
	defer p.Close()
	defer out.Close()
	c, err = listener.Receive(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	for _, err := range []error{c.Err(), c.Return(0), c.Fail(syscall.EPERM), c.Continue(), c.ReturnFile(out, nil)} {
		require.ErrorIs(t, err, os.ErrProcessDone)
	}
	_, err = c.ReadString(c.Args[1], 4096)
	require.ErrorIs(t, err, os.ErrProcessDone)
	_, err = c.AddFile(out, &AddFileOptions{At: -1})
	require.ErrorIs(t, err, syscall.EBADF)
	_, err = listener.Receive(t.Context())
	require.Equal(t, io.EOF, err)
	require.NoError(t, listener.Close())
}

// TestListenerListing: the start with a listener shows itself.
func TestListenerListing(t *testing.T) {
	l := defaultLaunch(Dir("/srv/rootfs"), "echo")
	listened(t, l, "mkdirat")
	l.SeccompNotify = func(context.Context, *SeccompListener) error { return nil }
	p, err := l.Program()
	require.NoError(t, err)
	_, rest, ok := strings.Cut(p.String(), "seccomp(")
	require.True(t, ok)
	require.Contains(t, rest, "SECCOMP_FILTER_FLAG_NEW_LISTENER")
	require.Contains(t, rest, "test $taken == 1")
}

// TestListenerInUserNamespace takes the listener of a process in a user namespace, in both orders.
func TestListenerInUserNamespace(t *testing.T) {
	requireUserNamespaces(t)
	dir := testenv.NewRootfs(t, "mkdir")
	for _, privileges := range []bool{false, true} {
		l := userLaunch(dir, "mkdir", "/new")
		l.NewPrivileges, l.User = privileges, User{UID: 7, GID: 8}
		listened(t, l, "mkdirat")
		l.SeccompNotify = refuse
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		require.Equal(t, "disk quota exceeded\n", out)
	}
}

// refuse fails every call.
func refuse(_ context.Context, n *SeccompListener) error {
	go func() {
		defer n.Close()
		for {
			c, err := n.Receive(context.Background())
			if err != nil {
				return
			}
			_ = c.Fail(syscall.EDQUOT)
		}
	}()
	return nil
}

// TestListenerIsNone has the process name another descriptor than that of a listener.
func TestListenerIsNone(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "notified")), "notified")
	listened(t, l, "mkdirat")
	l.SeccompNotify = func(_ context.Context, n *SeccompListener) error {
		t.Error("it was handed over")
		return n.Close()
	}
	l.edit = func(p *Program) {
		for i := range p.steps {
			if s := &p.steps[i]; s.name == "seccomp" {
				s.op, s.n, s.first = opSet, 1, len(p.args)
				p.args = append(p.args, num(1))
			}
		}
	}
	before := descriptors(t)
	_, err := l.Start(t.Context())
	require.ErrorIs(t, err, unix.EBADF)
	require.Equal(t, before, descriptors(t))
}
