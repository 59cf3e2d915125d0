package namespace

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() { programs["ordinary-copy"] = ordinaryCopy }

// copyRoot is a root with something to copy in /var, whose files belong to the ids that host gives for those of the container.
func copyRoot(t *testing.T, host func(id int) int) string {
	dir := testenv.NewRootfs(t, "try")
	v := filepath.Join(dir, "var")
	require.NoError(t, os.MkdirAll(v+"/a/b", 0o755))
	require.NoError(t, os.Mkdir(v+"/closed", 0o700))
	for _, name := range []string{"/a/b/file", "/closed/file"} {
		require.NoError(t, os.WriteFile(v+name, []byte("content"), 0o640))
	}
	require.NoError(t, os.Symlink("/etc/shadow", v+"/link"))
	require.NoError(t, syscall.Mkfifo(v+"/fifo", 0o600))
	require.NoError(t, unix.Mknod(v+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, unix.Mknod(v+"/block", unix.S_IFBLK|0o666, 0))
	giveTo(t, dir, host(0))
	for name, id := range map[string]int{"": 5, "/a/b/file": 7, "/closed": 9, "/closed/file": 9} {
		require.NoError(t, os.Chown(v+name, host(id), host(id+1)))
	}
	require.NoError(t, os.Chmod(v+"/a", 0o711))
	require.NoError(t, os.Chmod(v, 0o755|os.ModeSticky))
	require.NoError(t, unix.Setxattr(v+"/closed/file", "user.x", []byte("y"), 0))
	capability := []byte("\x01\x00\x00\x02\x00\x04\x00\x00" + strings.Repeat("\x00", 12)) // CAP_NET_BIND_SERVICE
	if root := host(0); root != 0 {
		capability[3] = 3
		capability = append(capability, byte(root), byte(root>>8), byte(root>>16), byte(root>>24))
	}
	require.NoError(t, unix.Setxattr(v+"/a/b/file", capabilityXattr, capability, 0))
	return dir
}

// copyArgs and copyShown are what the container looks at, and sees.
var (
	copyArgs = []string{"try", "stat:/var/.", "stat:/var/a", "stat:/var/a/b/file", "stat:/var/closed", "stat:/var/closed/file", "stat:/var/link",
		"stat:/var/fifo", "stat:/var/null", "stat:/var/block", "size:/var/a/b/file", "size:/var/closed/file", "xattr:/var/a/b/file", "write:/var/new"}
	copyShown = strings.Join([]string{"stat:/var/. 41755 5 6", "stat:/var/a 40711 0 0", "stat:/var/a/b/file 100640 7 8",
		"stat:/var/closed 40700 9 10", "stat:/var/closed/file 100640 9 10", "stat:/var/link 120777 0 0", "stat:/var/fifo 10600 0 0", "stat:/var/null ENOENT", "stat:/var/block ENOENT",
		"size:/var/a/b/file 7", "size:/var/closed/file 7", "xattr:/var/a/b/file 20", "write:/var/new ok"}, "\n") + "\n"
)

func copyMounts(l *Launch) {
	l.Mounts = append(l.Mounts, Mount{Type: "tmpfs", Target: "/var", CopyUp: true, Data: "size=1m"},
		Mount{Type: "tmpfs", Target: "/empty", CopyUp: true})
}

// TestCopyUpInUser fills a tmpfs of a user namespace, new or joined, with files that are the namespace's already or are shown as
// such.
func TestCopyUpInUser(t *testing.T) {
	requireUserNamespaces(t)
	mapped := copyRoot(t, func(id int) int { return 100000 + id })
	plain := copyRoot(t, func(id int) int { return id })
	first := started(t, userLaunch(testenv.NewRootfs(t, "sleep"), "sleep", "1m"))
	for name, l := range map[string]*Launch{
		"new":    userLaunch(mapped),
		"shown":  userLaunch(plain),
		"joined": defaultLaunch(Dir(mapped)),
	} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "shown":
				l.RootIDMap = &IDMap{}
			case "joined":
				l.Namespaces.User = Namespace{Join: first.PidFD()}
			}
			copyMounts(l)
			l.Args = copyArgs
			before := descriptors(t)
			out, s := output(t, l)
			require.Zero(t, s.Code, out)
			require.Equal(t, copyShown, out)
			require.NoFileExists(t, filepath.Join(l.Root.String(), "var/new"))
			require.Equal(t, before, descriptors(t))
		})
	}
	t.Run("held", func(t *testing.T) {
		l := userLaunch(mapped, "try")
		copyMounts(l)
		h, err := l.Hold(t.Context())
		require.NoError(t, err)
		rest := defaultLaunch(nil, copyArgs...)
		out, s := outputOf(t, rest, func() (*Process, error) { return h.Start(t.Context(), rest) })
		require.Zero(t, s.Code, out)
		require.Equal(t, copyShown, out)
	})
	t.Run("kept", func(t *testing.T) {
		testenv.ReapOrphans(t)
		l, dir := userLaunch(mapped, "try"), t.TempDir()
		copyMounts(l)
		l.Args, l.Keep = copyArgs, &Keep{Dir: dir}
		p, err := l.Start(t.Context())
		require.NoError(t, awaited(t, p, err))
		require.Equal(t, copyShown, logText(t, dir, Stderr))
	})
}

// TestCopyUpInUserFails: what cannot be copied is an error that says what, and nothing stays.
func TestCopyUpInUserFails(t *testing.T) {
	requireUserNamespaces(t)
	for want, change := range map[string]func(l *Launch, v string){
		`open /var: mount 3 at /var: copy up "a": copy up "b": copy up "file": its owner 5:6 has no id in the user namespace`: func(_ *Launch, v string) {
			require.NoError(t, os.Chown(v+"/a/b/file", 5, 6))
		},
		`open /var: mount 3 at /var: copy up "big": sendfile: no space left on device`: func(_ *Launch, v string) {
			require.NoError(t, os.WriteFile(v+"/big", make([]byte, 2<<20), 0o644))
			require.NoError(t, os.Chown(v+"/big", 100000, 100000))
		},
		"open /var: mount 3 at /var: fsconfig size=x: invalid argument": func(l *Launch, _ string) { l.Mounts[len(l.Mounts)-2].Data = "size=x" },
		"setns user namespace": func(l *Launch, _ string) { joinNothing(t, l) },
	} {
		l := userLaunch(copyRoot(t, func(id int) int { return 100000 + id }), "try")
		copyMounts(l)
		change(l, filepath.Join(l.Root.String(), "var"))
		before := descriptors(t)
		_, err := l.Start(t.Context())
		require.ErrorContains(t, err, want)
		require.Equal(t, before, descriptors(t))
	}
	l := userLaunch(copyRoot(t, func(id int) int { return 100000 + id }), "try")
	copyMounts(l)
	ctx, cancel := context.WithCancel(t.Context())
	l.edit = func(*Program) { cancel() }
	before := descriptors(t)
	_, err := l.Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, descriptors(t))
}

// joinNothing has the process join what is no user namespace.
func joinNothing(t *testing.T, l *Launch) {
	f, err := os.Open("/proc/self/ns/uts")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	l.UIDMappings, l.GIDMappings, l.Namespaces.User = nil, nil, Namespace{Join: f}
}

// ordinaryCopy is an ordinary user's program; its arguments are the root and whether the user namespace is there already.
func ordinaryCopy(args []string) int {
	caps := DefaultCapabilitySet()
	l := &Launch{Root: Dir(args[1]), Args: copyArgs, Stdout: os.Stdout, Stderr: os.Stdout,
		Capabilities: Capabilities{Bounding: caps, Effective: caps, Permitted: caps}, Namespaces: Namespaces{Network: Namespace{Host: true}}}
	copyMounts(l)
	var err error
	if args[2] == "joined" {
		var d *Deputy
		if d, err = NewDeputy(context.Background(), nil, nil); err == nil {
			defer d.Close()
			l.Namespaces.User = Namespace{Join: d.User()}
		}
	} else {
		l.UIDMappings, l.GIDMappings = OwnMappings()
	}
	var p *Process
	if err == nil {
		p, err = l.Start(context.Background())
	}
	if err == nil {
		_, err = p.Wait(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// TestCopyUpOrdinaryUser fills a tmpfs for an ordinary user, whose subordinate ids have closed some of the files to the user.
func TestCopyUpOrdinaryUser(t *testing.T) {
	requireUserNamespaces(t)
	u := testenv.NewUser(t, true)
	run := func(root, namespace string) (string, error) {
		var out strings.Builder
		cmd := u.Command(t, "ordinary-copy", root, namespace)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	root := copyRoot(t, func(id int) int {
		if id == 0 {
			return u.ID
		}
		return u.FirstSub + id - 1
	})
	for _, namespace := range []string{"new", "joined"} {
		out, err := run(root, namespace)
		require.NoError(t, err, out)
		require.Equal(t, copyShown, out)
	}

	var exit *exec.ExitError
	out, err := run(copyRoot(t, func(id int) int { return id }), "new")
	require.ErrorAs(t, err, &exit, out)
	require.Contains(t, out, "open /var: ")
	require.Contains(t, out, "its owner 5:6 has no id in the user namespace")
}

// endingContext ends when it has been asked a number of times.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// The copying of a file that an image says is large ends with the start's context, and leaves no descriptor.
func TestCopyUpGivenUp(t *testing.T) {
	testenv.RequireRoot(t)
	root := testenv.NewRootfs(t, "describe")
	require.NoError(t, os.Mkdir(root+"/data", 0o755))
	require.NoError(t, os.WriteFile(root+"/data/large", nil, 0o600))
	require.NoError(t, os.Truncate(root+"/data/large", 2<<30))
	l := defaultLaunch(Dir(root), "/bin/describe")
	l.Mounts = append(l.Mounts, Mount{Type: "tmpfs", Target: "/data", CopyUp: true, Data: "size=1g"})
	before := descriptors(t)
	_, err := l.Start(&endingContext{t.Context(), 8})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "/data")
	require.Equal(t, before, descriptors(t))
}

// TestCopyUpFrozen: a deputy that a v1 freezer holds does not hold up Start beyond its context.
func TestCopyUpFrozen(t *testing.T) {
	testenv.RequireRoot(t)
	dir := freezerGroup(t)
	tasks, err := os.OpenFile(dir+"/tasks", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer tasks.Close()
	require.NoError(t, os.WriteFile(dir+"/freezer.state", []byte("FROZEN"), 0))
	before := descriptors(t)
	l := defaultLaunch(Dir(trueRootfs(t)), "true")
	copyMounts(l)
	l.CgroupTasks = []*os.File{tasks}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = l.Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, os.WriteFile(dir+"/freezer.state", []byte("THAWED"), 0))
	require.Eventually(t, func() bool { return len(before) == len(descriptors(t)) }, time.Minute, time.Millisecond,
		"it ends when it is thawed, and is reaped")
}

// TestCopyUpKilled: a start whose deputy is killed says so, at whatever call it was.
func TestCopyUpKilled(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(copyRoot(t, func(id int) int { return id })), "true")
	copyMounts(l)
	before := descriptors(t)
	for k := range 40 {
		calls := 0
		done, own, err := l.withDeputy(t.Context())
		require.NoError(t, err)
		fd, _, err := own.copyUp(&l.Mounts[len(l.Mounts)-2], func() error {
			if calls++; calls == k+1 {
				require.NoError(t, own.copies.proc.Signal(syscall.SIGKILL))
			}
			return nil
		})
		done()
		if calls <= k {
			require.NoError(t, err)
			require.NoError(t, unix.Close(fd))
			require.NotZero(t, k)
			return
		}
		require.ErrorIs(t, err, ErrDeputyEnded)
		require.ErrorContains(t, err, "signal 9")
		require.Equal(t, before, descriptors(t))
	}
	require.Fail(t, "it was killed each time")
}
