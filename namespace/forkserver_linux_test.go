package namespace

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// forkServer starts one for commands in p's namespaces that are like l, and ends it with the test.
func forkServer(t *testing.T, l *Launch) *ForkServer {
	t.Helper()
	f, err := l.StartForkServer(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close())
		require.False(t, f.Alive())
	})
	return f
}

// forked starts l by the server, which must do it.
func forked(t *testing.T, f *ForkServer, l *Launch) (*Process, error) {
	t.Helper()
	p, done, err := f.start(t.Context(), l)
	require.True(t, done, "%v", err)
	return p, err
}

// A process that a fork server has cloned finds itself as one that was started whole.
func TestForkServer(t *testing.T) {
	testenv.RequireRoot(t)
	root := Dir(testenv.NewRootfs(t, "describe"))
	number := regexp.MustCompile(`State:.*|\s*\b\d+`)
	plain := func(s string) string { return number.ReplaceAllString(s, " N") }
	for name, change := range map[string]func(*Launch){
		"root": func(*Launch) {},
		"user": func(l *Launch) {
			l.User, l.Capabilities = User{UID: 1000, GID: 1000, Groups: []uint32{1000, 3000}}, Capabilities{}
			l.Rlimits = []Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 20, Hard: 20}} // fewer than the server's socket has for a number
		},
		"new privileges": func(l *Launch) { l.NewPrivileges = true },
	} {
		t.Run(name, func(t *testing.T) {
			p := started(t, defaultLaunch(root, "describe", "sleep"))
			l := joinLaunch(p, "describe")
			l.Env = []string{"A=1"}
			change(l)
			whole, s := output(t, l)
			require.Zero(t, s.Code)
			f := forkServer(t, l)
			for _, more := range []string{"", strings.Repeat("x", 30000), ""} {
				l.Args = []string{"describe"}
				if more != "" {
					l.Args, l.Env = append(l.Args, "args"), []string{"A=" + more}
				}
				out, s := outputOf(t, l, func() (*Process, error) { return forked(t, f, l) })
				require.Zero(t, s.Code, out)
				if more == "" {
					require.Equal(t, plain(whole), plain(out))
				}
				l.Env = []string{"A=1"}
			}
		})
	}
}

// What a fork server cannot do is done without it, and an error is that of a start without it.
func TestForkServerWithout(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	f := forkServer(t, l)
	before := descriptors(t)
	for name, change := range map[string]func(*Launch){
		"another user":       func(l *Launch) { l.User.UID = 1000 },
		"another filter":     func(l *Launch) { l.Seccomp = make([]byte, 8) },
		"a long environment": func(l *Launch) { l.Env = []string{strings.Repeat("A", maxForked)} },
		"many files":         func(l *Launch) { l.ExtraFiles = make([]*os.File, maxForkedFiles) },
		"a gate":             func(l *Launch) { l.Gate = os.Stdin },
		"no command":         func(l *Launch) { l.Args = []string{"nothing"} },
		"no folder":          func(l *Launch) { l.Dir = "/nothing" },
		"a set-up that ends": func(l *Launch) { l.edit = calls(3, unix.SYS_EXIT_GROUP, failedSetUp) },
		"a set-up killed":    func(l *Launch) { l.edit = calls(4, unix.SYS_KILL, 0, int(unix.SIGKILL)) }, // its session, in which it is alone
	} {
		own := *l
		change(&own)
		p, done, err := f.start(t.Context(), &own)
		require.Nil(t, p, name)
		require.False(t, done, "%s: %v", name, err)
		require.True(t, f.Alive(), name)
		require.Equal(t, before, descriptors(t), name)
	}
	own := *l
	own.ForkServer, own.Args = f, []string{"nothing"}
	_, err := own.Start(t.Context())
	require.ErrorIs(t, err, syscall.ENOENT)
	own.Args, own.User.UID = []string{"describe"}, 1000
	_, s := output(t, &own)
	require.Zero(t, s.Code)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.StartForkServer(ctx)
	require.ErrorIs(t, err, context.Canceled)
	own = *l
	own.Gate = os.Stdin
	_, err = own.StartForkServer(t.Context())
	require.ErrorContains(t, err, "Gate")
}

// calls has step k be another system call.
func calls(k int, nr int32, args ...int) func(*Program) {
	return func(p *Program) {
		s := &p.steps[k]
		s.op, s.n, s.first = nr, int32(len(args)), len(p.args)
		for _, a := range args {
			p.args = append(p.args, num(a))
		}
	}
}

// TestForkServerFailEachStep fails every step of the server and of a process in turn: nothing is left.
func TestForkServerFailEachStep(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	before := descriptors(t)
	set, rest := newProgram(), newProgram()
	require.NoError(t, l.compileForkServer(set))
	require.NoError(t, l.compileForked(rest, openNull, nil))
	stride := 1
	if testing.Short() {
		stride = 7
	}
	fail := func(k int) func(*Program) {
		return func(p *Program) {
			calls(k, opFail, int(syscall.EUCLEAN))(p)
			p.steps[k].fail = 0
		}
	}
	for k := 0; k < set.Len(); k += stride {
		own := *l
		own.edit = fail(k)
		f, err := own.StartForkServer(t.Context())
		if err == nil { // a step of its service
			if p, done, err := f.start(t.Context(), l); done {
				require.NoError(t, err)
				waited(t, p)
			}
			require.NoError(t, f.Close())
			continue
		}
		require.ErrorIs(t, err, syscall.EUCLEAN, k)
	}
	require.Equal(t, before, descriptors(t))
	f, passed := forkServer(t, l), 0
	for k := range rest.Len() {
		own := *l
		own.edit = fail(k)
		p, done, err := f.start(t.Context(), &own)
		if done { // the step is one that was not taken
			passed++
			require.NoError(t, err)
			waited(t, p)
			continue
		}
		require.Nil(t, p, k)
		if err != nil {
			require.ErrorIs(t, err, syscall.EUCLEAN, k)
		}
		if k <= 1 { // it has not said who it is: the server is ended, in case that it is there
			<-f.ended
			f = forkServer(t, l)
		}
		require.True(t, f.Alive(), k)
	}
	require.Less(t, passed, rest.Len()/2)
}

// waited waits for a process that cannot fail.
func waited(t *testing.T, p *Process) {
	t.Helper()
	_, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close())
}

// Somebody in the container kills or stops the server while commands are started: each is executed once, by it or without it.
func TestForkServerKilled(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	before := descriptors(t)
	for i := range 20 {
		f, err := l.StartForkServer(t.Context())
		require.NoError(t, err)
		own := *l
		own.ForkServer = f
		var killer sync.WaitGroup
		killer.Go(func() {
			time.Sleep(time.Duration(i) * 20 * time.Microsecond)
			_ = f.proc.Signal(syscall.SIGKILL)
		})
		out, s := output(t, &own)
		require.Zero(t, s.Code)
		require.Equal(t, 1, strings.Count(out, "hostname box\n"))
		killer.Wait()
		<-f.ended
		_, s = output(t, &own) // without it
		require.Zero(t, s.Code)
		require.NoError(t, f.Close())
	}
	require.Equal(t, before, descriptors(t))
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	require.True(t, pid == 0 || err != nil, "%d is left", pid)

	// One that is stopped is waited for as long as ctx allows.
	f := forkServer(t, l)
	require.NoError(t, f.proc.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	own := *l
	own.ForkServer = f
	_, err = own.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-f.ended
}

// A command that somebody holds up in its set-up holds up no other.
func TestForkServerHeldUp(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	f := forkServer(t, l)
	before := descriptors(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var held sync.WaitGroup
	held.Go(func() {
		own := *l
		own.edit = func(p *Program) { p.steps[3].op = unix.SYS_PPOLL }
		p, done, err := f.start(ctx, &own)
		if p != nil || !done || !errors.Is(err, context.Canceled) {
			t.Errorf("%v %t %v", p, done, err)
		}
	})
	require.Eventually(t, func() bool { return len(f.turn) == 1 }, time.Minute, time.Millisecond)
	f.patience.Store(int64(time.Millisecond))
	own := *l
	own.ForkServer = f
	_, s := output(t, &own)
	require.Zero(t, s.Code)
	require.Len(t, f.turn, 1)
	cancel()
	held.Wait()
	f.patience.Store(int64(answering))
	_, s = outputOf(t, l, func() (*Process, error) { return forked(t, f, l) })
	require.Zero(t, s.Code)
	require.Equal(t, before, descriptors(t))
}

// The server ends with its PID namespace, and with the program, whose end of the socket closes then.
func TestForkServerEnds(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	f := forkServer(t, l)
	require.NoError(t, f.sock.Close())
	<-f.ended
	f = forkServer(t, l)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	<-f.ended
	_, err := p.Wait(t.Context())
	require.NoError(t, err)
}

// Several commands at once, each with a terminal or files of its own.
func TestForkServerAtOnce(t *testing.T) {
	testenv.RequireRoot(t)
	p := started(t, defaultLaunch(Dir(testenv.NewRootfs(t, "describe", "terminal")), "describe", "sleep"))
	l := joinLaunch(p, "describe")
	f := forkServer(t, l)
	tty := *l
	tty.Args, tty.TTY, tty.TTYSize = []string{"terminal"}, true, WinSize{Rows: 24, Cols: 80}
	q, err := forked(t, f, &tty)
	require.NoError(t, err)
	tryTTY(t, q)
	_ = q.Signal(syscall.SIGKILL)
	_, err = q.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, q.Close())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			own := *l
			for range 3 {
				p, done, err := f.start(t.Context(), &own)
				if !done || err != nil {
					t.Errorf("%t %v", done, err)
					return
				}
				s, err := p.Wait(context.Background())
				if err != nil || s.Code != 0 {
					t.Errorf("%v %v", s, err)
				}
				_ = p.Close()
			}
		})
	}
	all.Wait()
}
