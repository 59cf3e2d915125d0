package namespace

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A path through this package that takes a newer kernel's calls. Its run starts something, and waits for its end.
type newerPath struct {
	name string
	run  func(t *testing.T, dir string) error
}

// awaited waits for the end of what a start has started.
func awaited(t *testing.T, p *Process, err error) error {
	if err != nil {
		return err
	}
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	return p.Close()
}

var newerPaths = []newerPath{
	{"start", func(t *testing.T, dir string) error {
		p, err := defaultLaunch(Dir(dir), "describe").Start(t.Context())
		return awaited(t, p, err)
	}},
	{"join", func(t *testing.T, dir string) error {
		first, err := defaultLaunch(Dir(dir), "sleep", "1m").Start(t.Context())
		if err != nil {
			return err
		}
		p, err := joinLaunch(first, "namespaces").Start(t.Context())
		err = awaited(t, p, err)
		require.NoError(t, first.Signal(unix.SIGKILL))
		return errors.Join(err, awaited(t, first, nil))
	}},
	{"users", func(t *testing.T, dir string) error {
		p, err := userLaunch(dir, "describe").Start(t.Context())
		return awaited(t, p, err)
	}},
	{"idmap", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "describe")
		l.Mounts = append(l.Mounts, Mount{Type: "bind", Source: t.TempDir(), Target: "/data",
			IDMap: &IDMap{UIDs: testMaps, GIDs: testMaps}})
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"park", func(t *testing.T, dir string) error {
		at := t.TempDir()
		p, err := defaultLaunch(Dir(dir), "describe").Park(t.Context(), at)
		if err == nil {
			require.NoError(t, Unpark(t.Context(), at))
		}
		return awaited(t, p, err)
	}},
	{"keep", func(t *testing.T, dir string) error {
		testenv.ReapOrphans(t)
		l := keptLaunch(Dir(dir), t.TempDir(), "describe")
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"cgroup", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "sleep", "1m")
		return inUnifiedGroup(t, l)
	}},
	{"keep in cgroup", func(t *testing.T, dir string) error {
		testenv.ReapOrphans(t)
		return inUnifiedGroup(t, keptLaunch(Dir(dir), t.TempDir(), "sleep", "1m"))
	}},
	{"listen", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "describe")
		listened(t, l, "mkdirat")
		l.SeccompNotify = func(_ context.Context, n *SeccompListener) error { return n.Close() }
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"landlock", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "describe")
		l.Landlock = &Landlock{Files: []LandlockFiles{{Path: "/", Access: LandlockRead | LandlockExecute}}}
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"landlock as far as it goes", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "describe")
		l.Landlock = &Landlock{BestEffort: true, Files: []LandlockFiles{{Path: "/", Access: LandlockRead | LandlockExecute}}}
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"time", func(t *testing.T, dir string) error {
		l := defaultLaunch(Dir(dir), "describe")
		l.TimeOffsets = &TimeOffsets{Boottime: 60e9}
		p, err := l.Start(t.Context())
		return awaited(t, p, err)
	}},
	{"deputy", func(t *testing.T, dir string) error {
		d, err := NewDeputy(t.Context(), testMaps, testMaps)
		if err != nil {
			return err
		}
		return d.Close()
	}},
}

// inUnifiedGroup starts a process in a group of the unified hierarchy by its folder's descriptor, and sees it there.
func inUnifiedGroup(t *testing.T, l *Launch) error {
	top := unifiedTop(t)
	if top == "" {
		return nil
	}
	group := filepath.Join(top, testenv.CgroupName(t))
	require.NoError(t, os.Mkdir(group, 0o755))
	defer func() { require.NoError(t, unix.Rmdir(group)) }()
	f, err := os.Open(group)
	require.NoError(t, err)
	defer f.Close()
	l.CgroupDir = f
	p, err := l.Start(t.Context())
	if err != nil {
		return err
	}
	procs, err := os.ReadFile(group + "/cgroup.procs")
	require.NoError(t, err)
	require.NoError(t, p.Signal(unix.SIGKILL))
	err = awaited(t, p, nil)
	require.Len(t, strings.Fields(string(procs)), 1)
	return err
}

// unifiedTop is the folder of the program's own group of the unified hierarchy, "" if there is none.
func unifiedTop(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	own, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if !strings.Contains(lines.Text(), " - cgroup2 ") || fields[3] != "/" {
			continue
		}
		for line := range strings.Lines(string(own)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				return filepath.Join(fields[4], path)
			}
		}
	}
	return ""
}

// TestOlderKernels has the running kernel play older ones, and sandboxes that take calls away: each of the newer calls is
// denied, and together all that there are ways around, to the program and to what it starts. What takes the call takes its other
// way, or its error names what is missing; everything else is as before.
func TestOlderKernels(t *testing.T) {
	testenv.RequireRoot(t)
	type refusals map[string]string // the errors of paths; "" where there is another way
	const setattr = "mount_setattr(2) needs Linux 5.12"
	every := func(text string) refusals { return refusals{"start": text, "users": text} }
	deny := testenv.DeniedCalls
	execMemfd := testenv.Denied{Call: unix.SYS_MEMFD_CREATE, Arg: 1, Mask: unix.MFD_EXEC, Value: unix.MFD_EXEC, Errno: unix.EINVAL}
	noExecMemfd := testenv.Denied{Call: unix.SYS_MEMFD_CREATE, Arg: 1, Mask: unix.MFD_NOEXEC_SEAL, Value: unix.MFD_NOEXEC_SEAL,
		Errno: unix.EINVAL}
	everywhere := refusals{"users": setattr, "idmap": setattr, "deputy": setattr, "landlock": "needs Linux 5.13", "listen": "pidfd_getfd takes Linux ≥ 5.6"}
	for _, path := range newerPaths {
		everywhere[path.name] += ""
	}
	short := []string{"openat2", "clone3", "mount_setattr", "memfd", "all of them"}
	for name, x := range map[string]struct {
		denied []testenv.Denied
		paths  refusals
	}{
		"close_range":   {deny(unix.SYS_CLOSE_RANGE), every("close_range takes Linux ≥ 5.9")},
		"openat2":       {deny(unix.SYS_OPENAT2), every("openat2 takes Linux ≥ 5.6")},
		"fsopen":        {deny(unix.SYS_FSOPEN), every("fsopen takes Linux ≥ 5.2")},
		"open_tree":     {deny(unix.SYS_OPEN_TREE), every("open_tree takes Linux ≥ 5.2")},
		"move_mount":    {deny(unix.SYS_MOVE_MOUNT), every("move_mount takes Linux ≥ 5.2")},
		"clone3":        {deny(unix.SYS_CLONE3), refusals{"cgroup": "", "keep in cgroup": "", "time": "", "users": ""}},
		"mount_setattr": {deny(unix.SYS_MOUNT_SETATTR), refusals{"start": "", "users": setattr, "idmap": setattr, "deputy": setattr}},
		"pidfd_open":    {deny(unix.SYS_PIDFD_OPEN), refusals{"start": "", "keep": ""}},
		"faccessat2":    {deny(unix.SYS_FACCESSAT2), refusals{"park": ""}},
		"pidfd_getfd":   {deny(unix.SYS_PIDFD_GETFD), refusals{"start": "", "users": "", "listen": "pidfd_getfd takes Linux ≥ 5.6"}},
		"landlock":      {deny(unix.SYS_LANDLOCK_CREATE_RULESET), refusals{"landlock": "needs Linux 5.13", "landlock as far as it goes": ""}},
		// Linux 6.3 gave memory files a word on whether they can be executed.
		"MFD_EXEC": {[]testenv.Denied{execMemfd, noExecMemfd}, refusals{"start": "", "users": "", "keep": ""}},
		"memfd":    {deny(unix.SYS_MEMFD_CREATE), refusals{"start": "", "keep": ""}},
		"all of them": {append(deny(unix.SYS_CLONE3, unix.SYS_MOUNT_SETATTR, unix.SYS_PIDFD_OPEN, unix.SYS_FACCESSAT2,
			unix.SYS_PIDFD_GETFD, unix.SYS_LANDLOCK_CREATE_RULESET), execMemfd, noExecMemfd), everywhere},
	} {
		if testing.Short() && !slices.Contains(short, name) { // each is a process of its own
			continue
		}
		t.Run(name, func(t *testing.T) {
			if !testenv.Again(t, func(cmd *exec.Cmd) error {
				err := testenv.RunOnOlderKernel(cmd, x.denied)
				var exit *exec.ExitError
				if x.paths["start"] != "" && errors.As(err, &exit) {
					return nil // the tests' own set-up says that it failed, too; Again looks whether this test passed
				}
				return err
			}) {
				return
			}
			dir := testenv.NewRootfs(t, "describe", "namespaces", "sleep")
			for _, path := range newerPaths {
				want, known := x.paths[path.name]
				if !known {
					continue
				}
				err := path.run(t, dir)
				if want == "" {
					require.NoError(t, err, path.name)
				} else {
					require.ErrorContains(t, err, want, path.name)
				}
			}
		})
	}
}
