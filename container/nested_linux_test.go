package container_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	testenv.ChownAll(t, mapped, 100000)
	type C = container.Container
	unmask := func(c *C) { c.NoSeccomp, c.MaskedPaths, c.ReadOnlyPaths = true, []string{}, []string{} }
	for name, x := range map[string]struct {
		change         func(*C)
		plain, noGroup string
		mapped         string // of both, in a user namespace
	}{
		"default":   {func(*C) {}, filtered, filtered, filtered},
		"no filter": {func(c *C) { c.NoSeccomp = true }, covered, covered, covered},
		"unmasked":  {unmask, works, works, works},
		"SYS_ADMIN": {func(c *C) { c.NoSeccomp, c.CapAdd = true, []string{"SYS_ADMIN"} }, noGroups, noNetwork, noNetwork},
		"two":       {func(c *C) { c.NoSeccomp, c.CapAdd = true, []string{"SYS_ADMIN", "NET_ADMIN"} }, noGroups, works, works},
		"all in a user namespace": {func(c *C) {
			unmask(c)
			c.CapAdd = []string{"ALL"}
		}, "", "", works},
	} {
		t.Run(name, func(t *testing.T) {
			if x.plain != "" {
				requireInner(t, run(t, host, x.change), x.plain, x.noGroup)
			}
			requireInner(t, run(t, mapped, func(c *C) {
				c.UIDMappings, c.GIDMappings = idMaps, idMaps
				x.change(c)
			}), x.mapped, x.mapped)
		})
	}
	out := run(t, host, func(c *C) { c.Privileged = true })
	requireInner(t, out, works, works)
	require.NotContains(t, out, "lacks user namespaces")
	require.Contains(t, run(t, host, func(c *C) {}), "lacks user namespaces: ")
}

// inPodman returns what runs inner in a container of podman's with the options.
func inPodman(t *testing.T, u *testenv.User) func(options ...string) string {
	root := nestedRoot(t)
	run := testenv.Podman(t, u, root)
	return func(options ...string) string { return run(options, "/bin/inner") }
}

// TestInPodman runs our containers in containers of podman's.
func TestInPodman(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	podman := inPodman(t, nil)
	requireInner(t, podman(), covered, covered)
	requireInner(t, podman("--security-opt", "unmask=ALL"), noName, noName) // podman's filter lets others unshare and mount
	requireInner(t, podman("--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined"), works, works)
	requireInner(t, podman("--privileged"), works, works)
}

// TestInRootlessPodman does so in those of an ordinary user: what is in the way, and what would help, is known before a container is
// started.
func TestInRootlessPodman(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	podman := inPodman(t, testenv.NewUser(t, true))
	out := podman()
	requireInner(t, out, covered, covered)
	require.Regexp(t, "lacks containers: .*a proc may be mounted .* only where another one is seen whole; the container .* takes .*systempaths", out)
	out = podman("--security-opt", "unmask=ALL")
	requireInner(t, out, noName, noName)
	require.Regexp(t, "lacks containers: .*a seccomp filter confines the program.*; give .*seccomp=unconfined", out)
	out = podman("--security-opt", "unmask=ALL", "--security-opt", "seccomp=unconfined")
	requireInner(t, out, works, works)
	require.NotContains(t, out, "lacks containers")
	out = podman("--privileged") // all capabilities, but in a user namespace
	requireInner(t, out, works, works)
	require.NotContains(t, out, "lacks containers")
	require.Contains(t, out, "lacks control groups: ")
}
