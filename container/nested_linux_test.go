package container_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["inner"] = inner }

// inner is the host program of a container in a container: of one as it is by default, and of one without a control group.
func inner([]string) int {
	for _, noGroup := range []bool{false, true} {
		c := container.New(namespace.Dir("/inner"), "id")
		c.Hostname, c.NoCgroup = "within", noGroup
		out, err := c.CombinedOutput(context.Background())
		fmt.Printf("%s: %s%v\n", map[bool]string{false: "plain", true: "no group"}[noGroup], out, exitText(err))
	}
	for _, s := range container.Supported() {
		if !s.Available {
			fmt.Printf("lacks %s: %s; %s\n", s.Feature, s.Reason, s.Fix)
		}
	}
	return 0
}

// nestedRoot is a root file system that holds another one.
func nestedRoot(t *testing.T) string {
	root := testenv.NewRootfs(t, "inner")
	within := filepath.Join(root, "inner")
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(within, d), 0o755))
	}
	require.NoError(t, os.Link(filepath.Join(root, "bin/inner"), filepath.Join(within, "bin/id")))
	return root
}

// What an inner container says, or why there is none.
const (
	works    = "0 0 [0] / within "
	filtered = "unshare user namespace: operation not permitted (starting containers takes root, or CAP_SYS_ADMIN, and a seccomp " +
		"filter confines the program, as in a container: give the container that the program is in CAP_SYS_ADMIN, CAP_NET_ADMIN and"
	covered   = "fsmount proc: mount 0 at /proc: operation not permitted (a proc may be mounted in a user namespace only where another one is seen whole"
	noNetwork = "ioctl lo: operation not permitted (the loopback interface of a new network namespace takes CAP_NET_ADMIN)"
	noName    = "sethostname within: operation not permitted (a seccomp filter confines the program, as in a container: give"
	noGroups  = "is not delegated to this program; NoCgroup does without"
)

// requireInner looks at what two inner containers have said.
func requireInner(t *testing.T, out, plain, noGroup string) {
	t.Helper()
	first, second, ok := strings.Cut(out, "no group: ")
	require.True(t, ok, out)
	require.Contains(t, first, plain)
	require.Contains(t, second, noGroup)
}

// TestInContainer runs containers in containers of ours.
func TestInContainer(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	run := func(t *testing.T, root string, change func(*container.Container)) string {
		c := container.New(namespace.Dir(root), "inner")
		c.Cgroup = testenv.CgroupName(t)
		change(c)
		out, err := c.CombinedOutput(t.Context())
		require.NoError(t, err, string(out))
		return string(out)
	}
	host, mapped := nestedRoot(t), nestedRoot(t)
	require.NoError(t, filepath.WalkDir(mapped, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 100000, 100000))
	}))
	type C = container.Container
	unmask := func(c *C) { c.NoSeccomp, c.MaskedPaths, c.ReadOnlyPaths = true, []string{}, []string{} }
	for name, x := range map[string]struct {
		change         func(*C)
		users          bool // whether it is so in a user namespace only
		plain, noGroup string
	}{
		"default":   {func(*C) {}, false, filtered, filtered},
		"no filter": {func(c *C) { c.NoSeccomp = true }, false, covered, covered},
		"unmasked":  {unmask, false, works, works},
		"SYS_ADMIN": {func(c *C) { c.NoSeccomp, c.CapAdd = true, []string{"SYS_ADMIN"} }, false, noGroups, noNetwork},
		"two":       {func(c *C) { c.NoSeccomp, c.CapAdd = true, []string{"SYS_ADMIN", "NET_ADMIN"} }, false, noGroups, works},
		"all in a user namespace": {func(c *C) {
			unmask(c)
			c.CapAdd = []string{"ALL"}
		}, true, noGroups, works},
	} {
		t.Run(name, func(t *testing.T) {
			if !x.users {
				requireInner(t, run(t, host, x.change), x.plain, x.noGroup)
			}
			requireInner(t, run(t, mapped, func(c *C) {
				c.UIDMappings, c.GIDMappings = idMaps, idMaps
				x.change(c)
			}), x.plain, x.noGroup)
		})
	}
	out := run(t, host, func(c *C) { c.Privileged = true })
	requireInner(t, out, works, works)
	require.NotContains(t, out, "lacks user namespaces")
	require.Contains(t, run(t, host, func(c *C) {}), "lacks user namespaces: ")
}

// TestInPodman runs our containers in containers of podman's.
func TestInPodman(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "podman", "runc")
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	root := nestedRoot(t)
	run, err := os.MkdirTemp("/tmp", "podman-") // podman wants a short path
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(run)) })
	parent := "podman-" + testenv.CgroupName(t)
	t.Cleanup(func() { // podman leaves it
		for _, pattern := range []string{"/*", ""} {
			for _, at := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
				left, err := filepath.Glob(at + parent + pattern)
				require.NoError(t, err)
				for _, dir := range left {
					if st, err := os.Lstat(dir); err == nil && st.IsDir() {
						require.Eventually(t, func() bool { // podman's own processes end later
							err = os.Remove(dir)
							return err == nil || os.IsNotExist(err)
						}, 20*time.Second, 10*time.Millisecond, dir)
					}
				}
			}
		}
	})
	podman := func(args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		// crun knows no hybrid control groups, and has limits raised that this program may not raise.
		all := append([]string{"--root", run + "/root", "--runroot", run + "/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
			"--runtime", "runc", "run", "--rm", "--network", "none", "--cgroup-parent", "/" + parent, "--ulimit", "nofile=123:456", "--ulimit",
			"nproc=1000:2000"}, args...)
		out, err := exec.CommandContext(ctx, "podman", append(all, "--rootfs", root, "/bin/inner")...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	requireInner(t, podman(), covered, covered)
	requireInner(t, podman("--security-opt", "unmask=ALL"), noName, noName) // podman's filter lets others unshare and mount
	requireInner(t, podman("--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined"), works, works)
	requireInner(t, podman("--privileged"), works, works)
}
