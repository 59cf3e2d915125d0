package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// DelegateCgroup makes a control group and gives it to a user, as systemd's Delegate=yes does, with a group below it for the
// user's program: the open folder of that one, for SysProcAttr.CgroupFD. parent is the name of the one above. What is in them is removed
// when the test ends. It takes pure cgroup v2, and skips the test, in CI too, elsewhere.
func DelegateCgroup(t testing.TB, uid int) (program *os.File, parent string) {
	t.Helper()
	RequireRoot(t)
	const top = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	must(t, unix.Statfs(top, &fs))
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Skip("needs pure cgroup v2: go run ./internal/vm")
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
		must(t, os.WriteFile(top+"/cgroup.subtree_control", []byte("+"+controller), 0))
	}
	parent = CgroupName(t)
	dir := filepath.Join(top, parent)
	t.Cleanup(func() { must(t, removeGroups(dir)) })
	for _, d := range []string{dir, dir + "/program"} {
		must(t, os.Mkdir(d, 0o755))
		list, err := os.ReadFile("/sys/kernel/cgroup/delegate")
		must(t, err)
		for _, file := range append(strings.Fields(string(list)), ".") {
			if err := os.Chown(filepath.Join(d, file), uid, uid); !errors.Is(err, os.ErrNotExist) {
				must(t, err)
			}
		}
	}
	program, err := os.Open(dir + "/program")
	must(t, err)
	t.Cleanup(func() { _ = program.Close() })
	return program, "/" + parent
}

// removeGroups removes a group and those below it, whose last processes may be about to end.
func removeGroups(dir string) (err error) {
	for range 2000 {
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != dir {
				if err := removeGroups(path); err != nil {
					return err
				}
				return filepath.SkipDir
			}
			return err
		})
		if err == nil {
			err = os.Remove(dir)
		}
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}
