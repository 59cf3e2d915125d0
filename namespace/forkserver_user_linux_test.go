package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() { programs["fork-user"] = forkAsUser }

// forksKilled is the number of fork servers that are killed in the middle of a command.
const forksKilled = 8

// forkInUserNamespace has commands executed by fork servers in a user namespace whose maps set makes. Two must be the server's work, and
// one that goes on outlives it; of those during which the server is killed each is executed once, by it or without it.
func forkInUserNamespace(ctx context.Context, root *Root, out *os.File, set func(*Launch)) error {
	first := defaultLaunch(root, "describe", "sleep")
	set(first)
	p, err := first.Start(ctx)
	if err != nil {
		return err
	}
	end := func(p *Process) {
		_ = p.Signal(syscall.SIGKILL)
		_, _ = p.Wait(context.Background())
		_ = p.Close()
	}
	defer end(p)
	l := joinLaunch(p, "describe")
	l.Namespaces.User, l.Stdout, l.Stderr = Namespace{Join: p.PidFD()}, out, out
	well := func(q *Process, err error) error {
		if err != nil {
			return err
		}
		defer q.Close()
		s, err := q.Wait(ctx)
		if err == nil && s.Code != 0 {
			err = fmt.Errorf("it ended with %+v", s)
		}
		return err
	}
	f, err := l.StartForkServer(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	for range 2 {
		q, done, err := f.start(ctx, l)
		if !done {
			return fmt.Errorf("the server does not do it: %w", err)
		}
		if err := well(q, err); err != nil {
			return err
		}
	}
	for name, change := range map[string]func(*Launch){
		"no command":         func(l *Launch) { l.Args = []string{"nothing"} },
		"a set-up that ends": func(l *Launch) { l.edit = calls(3, syscall.SYS_EXIT_GROUP, failedSetUp) },
		"a set-up killed":    func(l *Launch) { l.edit = calls(4, syscall.SYS_KILL, 0, int(syscall.SIGKILL)) },
	} {
		own := *l
		change(&own)
		if q, done, err := f.start(ctx, &own); q != nil || done || !f.Alive() {
			return fmt.Errorf("%s: %v, %t, %w", name, q, done, err)
		}
	}
	own := *l
	own.Args = []string{"describe", "sleep"}
	long, done, err := f.start(ctx, &own)
	if !done || err != nil {
		return fmt.Errorf("a long command: %t, %w", done, err)
	}
	defer end(long)
	if err := f.Close(); err != nil {
		return err
	}
	for i := range forksKilled {
		if f, err = l.StartForkServer(ctx); err != nil {
			return err
		}
		killed := make(chan error)
		go func() {
			time.Sleep(time.Duration(i) * 50 * time.Microsecond)
			killed <- f.proc.Signal(syscall.SIGKILL)
		}()
		own := *l
		own.ForkServer = f
		err = well(own.Start(ctx))
		if err = errors.Join(err, <-killed, f.Close()); err != nil {
			return fmt.Errorf("the server killed: %w", err)
		}
	}
	if long.ended(0) {
		return errors.New("the long command has ended with its server")
	}
	return nil
}

// forkAsUser is that as an ordinary user.
func forkAsUser(args []string) int {
	err := forkInUserNamespace(context.Background(), Dir(args[1]), os.Stdout, func(l *Launch) {
		l.UIDMappings, l.GIDMappings = OwnMappings()
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestForkServerInUserNamespace(t *testing.T) {
	requireUserNamespaces(t)
	testenv.ReapOrphans(t)
	root := testenv.NewRootfs(t, "describe")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer out.Close()
	before := descriptors(t)
	require.NoError(t, forkInUserNamespace(t.Context(), Dir(root), out, func(l *Launch) {
		l.UIDMappings, l.GIDMappings = testMaps, testMaps
	}))
	require.Equal(t, before, descriptors(t))
	b, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.Equal(t, 2+forksKilled, strings.Count(string(b), "hostname box\n"), string(b))

	for _, ranges := range []bool{true, false} {
		u := testenv.NewUser(t, ranges)
		require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, u.ID, u.ID))
		}))
		b, err := u.Command(t, "fork-user", root).CombinedOutput()
		require.NoError(t, err, string(b))
		require.Equal(t, 2+forksKilled, strings.Count(string(b), "hostname box\n"), string(b))
	}
}
