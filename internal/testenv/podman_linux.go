package testenv

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Podman returns what runs a command in a container of podman's, of an ordinary user's if u is not nil, and returns the output. Its
// root file system is the folder root, which belongs to the user then. There is no network but by options.
func Podman(t testing.TB, u *User, root string) func(options []string, command ...string) string {
	t.Helper()
	RequireRoot(t)
	RequireCommand(t, "podman", "runc")
	ReapOrphans(t)
	dir, err := os.MkdirTemp("/tmp", "podman-") // podman wants a short path
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	// crun knows no hybrid control groups, and has limits raised that this program may not raise.
	global := []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
		"--events-backend", "file", "--runtime", "runc"}
	run := []string{"run", "--rm", "--network", "none", "--ulimit", "nofile=123:456", "--ulimit", "nproc=1000:2000"}
	do := func(args ...[]string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "podman", global...)
		for _, a := range args {
			cmd.Args = append(cmd.Args, a...)
		}
		if u != nil {
			u.become(cmd)
			cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+dir)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", cmd.Args, err, out)
		}
		return string(out)
	}
	if u == nil {
		run = append(run, "--cgroup-parent", "/"+podmanGroup(t))
	} else {
		must(t, os.Chown(dir, u.ID, u.ID))
		ChownAll(t, root, u.ID)
		t.Cleanup(func() { do([]string{"system", "migrate"}) }) // ends the process that holds its namespaces
	}
	return func(options []string, command ...string) string {
		t.Helper()
		return do(run, options, []string{"--rootfs", root}, command)
	}
}

// podmanGroup is the name of a control group that podman makes and leaves.
func podmanGroup(t testing.TB) string {
	parent := "podman-" + CgroupName(t)
	t.Cleanup(func() {
		for _, pattern := range []string{"/*", ""} {
			for _, at := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
				left, err := filepath.Glob(at + parent + pattern)
				must(t, err)
				for _, dir := range left {
					if st, err := os.Lstat(dir); err == nil && st.IsDir() {
						must(t, removeGroups(dir)) // podman's own processes end later
					}
				}
			}
		}
	})
	return parent
}

// ChownAll gives a folder with all below it to a user and its group.
func ChownAll(t testing.TB, root string, id int) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	}))
}
