package namespace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() { programs["keep-user"] = keepAsUser }

// logged is what the whole log holds, how often it was renamed aside.
func logged(dir string) (string, error) {
	r, err := OpenLog(dir)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var b strings.Builder
	for {
		f, err := r.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		b.Write(f.Data)
	}
}

// keepInUserNamespace runs a kept process that tells who it is, one that writes more than a log holds, one with a terminal, and one that
// is killed.
func keepInUserNamespace(ctx context.Context, root *Root, dir string, change func(*Launch)) error {
	run := func(name string, kill bool, l *Launch) error {
		change(l)
		l.Keep = &Keep{Dir: filepath.Join(dir, name), LogSize: 64 << 10}
		if err := os.Mkdir(l.Keep.Dir, 0o700); err != nil {
			return err
		}
		p, err := l.Start(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		if kill {
			if err := p.Signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
		s, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		out, err := logged(l.Keep.Dir)
		if name == "flood" {
			var info os.FileInfo
			if info, err = os.Stat(filepath.Join(l.Keep.Dir, keepOldLog)); err == nil && info.Size() < 64<<10 {
				err = errors.New("the log was not renamed")
			}
			_, out, _ = strings.Cut(out, "line 0009998\n")
		}
		fmt.Printf("%s %d %d\n%s", name, s.Code, s.Signal, out)
		return err
	}
	user := defaultLaunch(root, "inquire", "maps", "write", "/dev/null", "read", "/proc/sys/kernel/hostname")
	if ids, _ := OwnMappings(); len(ids) > 1 || os.Geteuid() == 0 {
		user.User = User{UID: 7, GID: 8, Groups: []uint32{8}}
	}
	tty := defaultLaunch(root, "inquire", "maps")
	tty.TTY = true
	for _, l := range []struct {
		name string
		kill bool
		l    *Launch
	}{
		{"inquire", false, user}, {"flood", false, defaultLaunch(root, "flood", "10000")}, {"tty", false, tty},
		{"sleep", true, defaultLaunch(root, "describe", "sleep")},
	} {
		if err := run(l.name, l.kill, l.l); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// keepAsUser is that as an ordinary user.
func keepAsUser(args []string) int {
	err := keepInUserNamespace(context.Background(), Dir(args[1]), ".", func(l *Launch) {
		l.UIDMappings, l.GIDMappings = OwnMappings()
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestKeepInUserNamespace(t *testing.T) {
	requireUserNamespaces(t)
	testenv.ReapOrphans(t)
	root := testenv.NewRootfs(t, "inquire", "flood", "describe")
	_, err := captureStdout(t, func() error {
		return keepInUserNamespace(t.Context(), Dir(root), t.TempDir(), func(l *Launch) {
			l.UIDMappings, l.GIDMappings = testMaps, testMaps
		})
	}, "inquire 0 0\nuid 7 8 [8]\nuid_map 0 100000 65536\ngid_map 0 100000 65536\nsetgroups allow\n/dev/null ok\n"+
		"/proc/sys/kernel/hostname box\nflood 0 0\nline 0009999\ntty 0 0\nuid 0 0 []\r\nuid_map 0 100000 65536\r\n"+
		"gid_map 0 100000 65536\r\nsetgroups allow\r\nsleep -1 9\n")
	require.NoError(t, err)

	l := userLaunch(root, "describe")
	l.UIDMappings, l.GIDMappings = nil, nil
	ns, err := NewUserNamespace(testMaps, testMaps)
	require.NoError(t, err)
	defer ns.Close()
	l.Namespaces.User.Join = ns
	l.Keep = &Keep{Dir: t.TempDir()}
	_, err = l.Start(t.Context())
	require.ErrorContains(t, err, "with Keep a user namespace must be the process's own")
	left, err := os.ReadDir(l.Keep.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestKeepOfOrdinaryUser(t *testing.T) {
	requireUserNamespaces(t)
	testenv.ReapOrphans(t)
	for _, ranges := range []bool{true, false} {
		u := testenv.NewUser(t, ranges)
		root := testenv.NewRootfs(t, "inquire", "flood", "describe")
		require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, u.ID, u.ID))
		}))
		out, err := u.Command(t, "keep-user", root).CombinedOutput()
		require.NoError(t, err, string(out))
		if ranges {
			require.Contains(t, string(out), "inquire 0 0\nuid 7 8 [8]\n")
		} else {
			require.Contains(t, string(out), fmt.Sprintf("inquire 0 0\nuid 0 0 []\nuid_map 0 %d 1\n", u.ID))
		}
		require.Contains(t, string(out), "/dev/null ok\n/proc/sys/kernel/hostname box\nflood 0 0\nline 0009999\ntty 0 0\nuid 0 0 ")
		require.Contains(t, string(out), "\r\nsleep -1 9\n")
	}
}

// captureStdout compares what f prints.
func captureStdout(t *testing.T, f func() error, want string) (string, error) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	was := os.Stdout
	os.Stdout = file
	err = f()
	os.Stdout = was
	b, rerr := os.ReadFile(file.Name())
	require.NoError(t, rerr)
	if err == nil {
		require.Equal(t, want, string(b))
	}
	return string(b), err
}
