package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() { programs["inquire"] = inquire }

// testMaps are what the tests' user namespaces have.
var testMaps = []IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// userLaunch is defaultLaunch in a new user namespace.
func userLaunch(dir string, args ...string) *Launch {
	l := defaultLaunch(Dir(dir), args...)
	l.UIDMappings, l.GIDMappings = testMaps, testMaps
	return l
}

func requireUserNamespaces(t testing.TB) {
	t.Helper()
	testenv.RequireRoot(t)
	if err := kernel.MountSetattr.Err(); err != nil {
		t.Skip(err)
	}
}

func TestUserNamespace(t *testing.T) {
	requireUserNamespaces(t)
	l := userLaunch(testenv.NewRootfs(t, "describe"), "describe")
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	for _, want := range []string{
		"hostname box\n", "pid 1\n", "cwd /\n", "uid 0 0 0\n", "Uid:\t0\t0\t0\t0\n", "Groups:\t \n",
		"CapEff:\t00000000a80425fb\n", "NoNewPrivs:\t1\n", " /proc/sys ro,", " /proc/keys ro,",
	} {
		require.Contains(t, out, want)
	}
	roots := 0
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 9 && f[4] == "/" {
			roots++
		}
	}
	require.Equal(t, 1, roots, "nothing of the template is left: %s", out)
}

// TestUserNamespaceOwns looks into a container in a user namespace, as another user, from inside and outside.
func TestUserNamespaceOwns(t *testing.T) {
	requireUserNamespaces(t)
	dir := testenv.NewRootfs(t, "inquire")
	l := userLaunch(dir, "inquire", "maps", "owner", "/dev/null", "owner", "/dev/pts", "owner", "/bin", "write", "/dev/null",
		"owner", "/dev/shm", "chmod", "/dev/null", "read", "/proc/sys/kernel/hostname", "mount")
	l.User = User{UID: 7, GID: 8, Groups: []uint32{8, 9}}
	caps := DefaultCapabilitySet()
	caps.Add(Capability(21)) // CAP_SYS_ADMIN, which is root's of the container only
	l.Capabilities = Capabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps}
	var host string
	l.Created = func(p *Process) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", p.Pid()))
		host = string(b)
		return err
	}
	out, s := output(t, l)
	require.Zero(t, s.Code, out)
	require.Equal(t, []string{"0", "100000", "65536"}, strings.Fields(host))
	require.Equal(t, strings.Join([]string{
		"uid 7 8 [8 9]", "uid_map 0 100000 65536", "gid_map 0 100000 65536", "setgroups allow",
		"/dev/null 65534 65534", "/dev/pts 0 0", "/bin 65534 65534", "/dev/null ok", "/dev/shm 0 0",
		"/dev/null read-only file system", "/proc/sys/kernel/hostname box",
		"mount ok", "",
	}, "\n"), out)
}

func TestUserNamespaceErrors(t *testing.T) {
	long := make([]IDMapping, 341)
	for i := range long {
		long[i] = IDMapping{uint32(i), uint32(i), 1}
	}
	wide := make([]IDMapping, 200)
	for i := range wide {
		wide[i] = IDMapping{uint32(1000000000 + 2*i), uint32(1000000000 + 2*i), 1}
	}
	ok, host := testMaps, Namespace{Host: true}
	for want, change := range map[string]func(l *Launch){
		"GIDMappings: there are none, but UIDMappings":        func(l *Launch) { l.GIDMappings = nil },
		"UIDMappings: there are none, but GIDMappings":        func(l *Launch) { l.UIDMappings = nil },
		"UIDMappings: mapping 0, 0 1 0, is of no id":          func(l *Launch) { l.UIDMappings = []IDMapping{{0, 1, 0}} },
		"UIDMappings: 341 mappings are more than":             func(l *Launch) { l.UIDMappings = long },
		"GIDMappings: the map is 4800 bytes as text":          func(l *Launch) { l.GIDMappings = wide },
		"GIDMappings: mapping 0, 0 4294967295 1, goes beyond": func(l *Launch) { l.GIDMappings = []IDMapping{{0, 1<<32 - 1, 1}} },
		"UIDMappings: mapping 0, 4294967295 0 1, goes beyond": func(l *Launch) { l.UIDMappings = []IDMapping{{1<<32 - 1, 0, 1}} },
		"UIDMappings: mappings 0, 0 10 10, and 1, 9 30 1, overlap inside": func(l *Launch) {
			l.UIDMappings = []IDMapping{{0, 10, 10}, {9, 30, 1}}
		},
		"UIDMappings: mappings 0, 0 10 10, and 1, 10 19 5, overlap outside": func(l *Launch) {
			l.UIDMappings = []IDMapping{{0, 10, 10}, {10, 19, 5}}
		},
		"UIDMappings: the id 0, the container's root, is not": func(l *Launch) { l.UIDMappings = []IDMapping{{1, 1, 1}} },
		"User.UID: the id 65536, the process's user, is not":  func(l *Launch) { l.User.UID = 65536 },
		"User.GID: the id 70000, the process's group, is not": func(l *Launch) { l.User.GID = 70000 },
		"User.Groups: the id 70001, a supplementary group":    func(l *Launch) { l.User.Groups = []uint32{3, 70001} },
		"User: the id 4294967295 stands for no user":          func(l *Launch) { l.User.UID = 1<<32 - 1 },
		"UIDMappings: the user namespace is not the process":  func(l *Launch) { l.Namespaces.User = host },
		"TimeOffsets: the time namespace is not the process": func(l *Launch) {
			l.Namespaces.Time, l.TimeOffsets = host, &TimeOffsets{}
		},
		"RootIDMap: one of UIDs and GIDs is missing": func(l *Launch) { l.RootIDMap = &IDMap{UIDs: ok} },
		"RootIDMap.GIDs: mapping 0": func(l *Launch) {
			l.RootIDMap = &IDMap{UIDs: ok, GIDs: []IDMapping{{}}}
		},
		"RootIDMap: it is empty": func(l *Launch) {
			l.UIDMappings, l.GIDMappings, l.RootIDMap = nil, nil, &IDMap{}
		},
		"TimeOffsets: with Keep in a user namespace of its own": func(l *Launch) { l.Keep, l.TimeOffsets = &Keep{Dir: "/x"}, &TimeOffsets{} },
		"Mounts[0].IDMap: /proc is not a bind":                  func(l *Launch) { l.Mounts[0].IDMap = &IDMap{} },
	} {
		l := userLaunch("/", "true")
		change(l)
		_, err := l.Program()
		require.ErrorContains(t, err, "start container: check "+want)
	}
}

// TestUserNamespaceJoin executes in a container with a user namespace, and starts another one in that namespace.
func TestUserNamespaceJoin(t *testing.T) {
	requireUserNamespaces(t)
	dir := testenv.NewRootfs(t, "inquire", "describe")
	p := started(t, userLaunch(dir, "describe", "sleep"))
	in := Namespace{Join: p.PidFD()}
	exec := joinLaunch(p, "inquire", "maps", "write", "/dev/null")
	exec.Namespaces.User = in
	exec.User.UID = 5
	out, s := output(t, exec)
	require.Zero(t, s.Code, out)
	require.Equal(t, "uid 5 0 []\nuid_map 0 100000 65536\ngid_map 0 100000 65536\nsetgroups allow\n/dev/null ok\n", out)

	other := defaultLaunch(Dir(dir), "inquire", "maps", "write", "/dev/null")
	other.Namespaces.User, other.Namespaces.Network, other.Namespaces.IPC = in, in, in
	out, s = output(t, other)
	require.Zero(t, s.Code, out)
	require.Contains(t, out, "uid_map 0 100000 65536\n")

	// One that is no namespace.
	f, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer f.Close()
	other.Namespaces.User, other.Stdout, other.Stderr = Namespace{Join: f}, nil, nil
	_, err = other.Start(t.Context())
	require.ErrorContains(t, err, "setns user namespace")
}

// TestUserNamespaceShares shares the host's namespaces, one at a time and all, with a process in a user namespace.
func TestUserNamespaceShares(t *testing.T) {
	requireUserNamespaces(t)
	dir := testenv.NewRootfs(t, "namespaces")
	host := Namespace{Host: true}
	for shared, n := range map[string]Namespaces{
		"pid": {PID: host}, "net": {Network: host}, "ipc": {IPC: host}, "uts": {UTS: host}, "cgroup": {Cgroup: host},
		"all": {PID: host, Network: host, IPC: host, UTS: host, Cgroup: host},
	} {
		l := userLaunch(dir, "namespaces")
		l.Namespaces, l.Hostname = n, ""
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		for _, kind := range []string{"pid", "net", "ipc", "uts", "cgroup", "mnt"} {
			own, err := os.Readlink("/proc/self/ns/" + kind)
			require.NoError(t, err)
			if kind == shared || shared == "all" && kind != "mnt" {
				require.Contains(t, out, own+"\n")
			} else {
				require.NotContains(t, out, own+"\n", "%s with %s shared", kind, shared)
			}
		}
	}
}

func TestUserNamespaceTTY(t *testing.T) {
	requireUserNamespaces(t)
	l := userLaunch(testenv.NewRootfs(t, "terminal"), "terminal")
	l.TTY, l.TTYSize, l.User.UID, l.User.GID = true, WinSize{Rows: 24, Cols: 80}, 1000, 1000
	l.Capabilities = Capabilities{}
	tryTTY(t, started(t, l))
	p := started(t, l)
	defer p.TTY().Close()
	j := joinLaunch(p, "/bin/terminal")
	j.Namespaces.User = j.Namespaces.PID
	j.TTY, j.TTYSize = true, WinSize{Rows: 24, Cols: 80}
	tryTTY(t, started(t, j))
}

func TestTimeNamespace(t *testing.T) {
	testenv.RequireRoot(t)
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("needs time namespaces, CONFIG_TIME_NS")
	}
	dir := testenv.NewRootfs(t, "inquire", "describe")
	clock := func(id int32) time.Duration {
		var ts unix.Timespec
		require.NoError(t, unix.ClockGettime(id, &ts))
		return time.Duration(ts.Nano())
	}
	const day = 24 * time.Hour
	for _, user := range []bool{false, true} {
		l := defaultLaunch(Dir(dir), "inquire", "clocks")
		if user {
			if kernel.MountSetattr.Err() != nil {
				continue
			}
			l = userLaunch(dir, "inquire", "clocks")
		}
		l.Stdout, l.Stderr = nil, nil
		l.TimeOffsets = &TimeOffsets{Monotonic: 10*day + time.Second/2, Boottime: -time.Second - time.Second/4}
		out, s := output(t, l)
		require.Zero(t, s.Code, out)
		monotonic, boot := clocks(t, out)
		require.InDelta(t, (clock(unix.CLOCK_MONOTONIC) + 10*day + time.Second/2).Seconds(), monotonic.Seconds(), 2)
		require.InDelta(t, (clock(unix.CLOCK_BOOTTIME) - time.Second - time.Second/4).Seconds(), boot.Seconds(), 2)

		l.Args, l.Stdout, l.Stderr = []string{"describe", "sleep"}, nil, nil
		p := started(t, l)
		j := joinLaunch(p, "inquire", "clocks")
		j.Namespaces.Time = Namespace{Join: p.PidFD()}
		if user {
			j.Namespaces.User = j.Namespaces.Time
		}
		out, s = output(t, j)
		require.Zero(t, s.Code, out)
		monotonic, _ = clocks(t, out)
		require.Greater(t, monotonic, 10*day)

		l.TimeOffsets = &TimeOffsets{Boottime: -100 * 365 * day}
		_, err := l.Start(t.Context())
		require.ErrorIs(t, err, unix.ERANGE)
		require.ErrorContains(t, err, "TimeOffsets")
	}
}

func clocks(t *testing.T, out string) (monotonic, boot time.Duration) {
	t.Helper()
	f := strings.Fields(out)
	require.Len(t, f, 2, out)
	monotonic, err := time.ParseDuration(f[0])
	require.NoError(t, err)
	boot, err = time.ParseDuration(f[1])
	require.NoError(t, err)
	return monotonic, boot
}

// inquire is a helper program that answers what its arguments ask.
func inquire(args []string) int {
	clock := func(id int32) string {
		var ts unix.Timespec
		if err := unix.ClockGettime(id, &ts); err != nil {
			return err.Error()
		}
		return time.Duration(ts.Nano()).String()
	}
	result := func(what string, err error) {
		if err == nil {
			println(what, "ok")
		} else {
			println(what, err.Error())
		}
	}
	content := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		return strings.Join(strings.Fields(string(b)), " ")
	}
	for i := 1; i < len(args); i++ {
		verb, name := args[i], ""
		if strings.Contains("owner write chmod read make", verb) {
			i++
			name = args[i]
		}
		switch verb {
		case "maps":
			groups, _ := unix.Getgroups()
			println("uid", os.Getuid(), os.Getgid(), fmt.Sprint(groups))
			for _, f := range []string{"uid_map", "gid_map", "setgroups"} {
				println(f, content("/proc/self/"+f))
			}
		case "owner":
			var st unix.Stat_t
			if err := unix.Lstat(name, &st); err != nil {
				println(name, err.Error())
			} else {
				println(name, st.Uid, st.Gid)
			}
		case "write":
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("x")
			}
			result(name, err)
		case "make":
			result(name, os.WriteFile(name, nil, 0o600))
		case "chmod":
			result(name, unix.Chmod(name, 0o600))
		case "read":
			println(name, content(name))
		case "mount":
			result("mount", unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""))
		case "clocks":
			println(clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_BOOTTIME))
		}
	}
	return 0
}

// userFailLaunch is failLaunch in a new user namespace and time namespace.
func userFailLaunch(t *testing.T) *Launch {
	l := failLaunch(t)
	giveTo(t, l.Root.String(), 100000)
	l.Mounts = slices.DeleteFunc(l.Mounts, func(m Mount) bool { return m.CopyUp })
	l.UIDMappings, l.GIDMappings, l.TimeOffsets = testMaps, testMaps, &TimeOffsets{Boottime: time.Hour}
	return l
}

// giveTo makes a folder and all in it a user's.
func giveTo(t testing.TB, dir string, id int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	}))
}

// TestUserNamespaceFail fails every step and every descriptor of a start in a user namespace in turn.
func TestUserNamespaceFail(t *testing.T) {
	requireUserNamespaces(t)
	t.Run("step", func(t *testing.T) { failEachStep(t, userFailLaunch(t)) })
	t.Run("file", func(t *testing.T) { failEachFile(t, userFailLaunch(t)) })
}

// TestUserNamespaceListing holds what a container in a user namespace is started by, as root and as an ordinary user.
func TestUserNamespaceListing(t *testing.T) {
	if err := kernel.MountSetattr.Err(); err != nil {
		t.Skip(err)
	}
	for file, maps := range map[string][]IDMapping{"user.golden": testMaps, "rootless.golden": {{0, 1000, 1}}} {
		l := defaultLaunch(Dir("/srv/rootfs"), "echo", "hello")
		l.UIDMappings, l.GIDMappings, l.rootless = maps, maps, file == "rootless.golden"
		l.privileged = !l.rootless
		l.MaskedPaths, l.ReadOnlyPaths = l.MaskedPaths[:1], l.ReadOnlyPaths[:1]
		l.TimeOffsets = &TimeOffsets{Monotonic: time.Minute}
		golden(t, l, "testdata/"+file)
	}
}

// TestUserNamespaceEnded kills the stub, and ends the context, while it waits for its maps.
func TestUserNamespaceEnded(t *testing.T) {
	requireUserNamespaces(t)
	l := userFailLaunch(t)
	run(t, l)
	before := descriptors(t)
	ended := 0
	for k := range 60 {
		l.edit = func(p *Program) { // a step that ends the process where it is
			if k < p.Len() {
				s := &p.steps[k]
				s.op, s.n, s.first, s.fail, s.then = unix.SYS_EXIT_GROUP, 1, len(p.args), 0, 0
				p.args = append(p.args, num(3))
			}
		}
		p, err := l.Start(t.Context())
		if err == nil { // a step that this start does not come to
			_, err := p.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, p.Close())
			continue
		}
		ended++
		require.ErrorContains(t, err, "ended with status 3")
	}
	require.Greater(t, ended, 40)
	require.Equal(t, before, descriptors(t))
}
