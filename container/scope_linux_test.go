package container_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// newScoped returns a container in a scope of systemd.
func newScoped(t *testing.T, args ...string) *container.Container {
	t.Helper()
	testenv.RequireSystemd(t)
	c := newContainer(t, args...)
	c.Cgroup = ""
	c.Scope = &cgroups.ScopeOptions{Name: testenv.CgroupName(t) + ".scope"}
	return c
}

// groupFile reads a file of the container's own group, or of the scope's.
func groupFile(t *testing.T, c *container.Container, below, name string) string {
	t.Helper()
	for _, dir := range c.CgroupPaths() {
		if b, err := os.ReadFile(filepath.Join(dir, below, name)); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

// TestSystemdScope: the container is in a unit with its limits, which change with it, outlast a reload of systemd's
// configuration, and end with it.
func TestSystemdScope(t *testing.T) {
	c := newScoped(t, "sleep", "60s")
	name := c.Scope.Name
	c.Memory, c.MemorySwap, c.CPUs, c.PidsLimit, c.CPUShares = 64<<20, 64<<20, 0.5, 20, 512
	require.NoError(t, c.Start(t.Context()))
	defer func() {
		_ = c.Kill()
		_ = c.Wait(t.Context())
	}()
	scope := "/system.slice/" + name
	require.Equal(t, scope+"/container", testenv.SystemdGroup(t, c.Pid()))
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	unified := m.Mode() == cgroups.V2
	memory, file, shares := "MemoryLimit", "memory.limit_in_bytes", "CPUShares"
	if unified {
		memory, file, shares = "MemoryMax", "memory.max", "CPUWeight"
	}
	look := func(bytes int64) {
		t.Helper()
		p := testenv.UnitProperties(t, name, "ActiveState", "ControlGroup", "Delegate", memory, "TasksMax", "CPUQuotaPerSecUSec", shares)
		want := map[string]string{
			"ActiveState": "active", "ControlGroup": scope, "Delegate": "yes", memory: fmt.Sprint(bytes), "TasksMax": "21",
			"CPUQuotaPerSecUSec": "500ms", shares: "512",
		}
		if unified {
			want[shares] = fmt.Sprint(cgroups.Weight(512))
		}
		require.Equal(t, want, p)
		require.Equal(t, fmt.Sprint(bytes), groupFile(t, c, "", file))
		require.Equal(t, fmt.Sprint(bytes), groupFile(t, c, "..", file))
		require.Equal(t, "20", groupFile(t, c, "", "pids.max"))
	}
	look(64 << 20)
	require.NoError(t, c.Update(&cgroups.Resources{Memory: 96 << 20, MemorySwap: 96 << 20}))
	look(96 << 20)
	out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput()
	require.NoError(t, err, string(out))
	look(96 << 20)
	for _, r := range []cgroups.Resources{{CPUPeriod: 50 * time.Millisecond}, {CPUQuota: 25 * time.Millisecond}} {
		require.NoError(t, c.Update(&r))
	}
	look(96 << 20) // half a processor still
	if unified {
		require.NoError(t, c.Update(&cgroups.Resources{MemorySwap: 128 << 20}))
		for bytes, swap := range map[int64]string{80 << 20: "50331648", 96 << 20: "33554432"} {
			require.NoError(t, c.Update(&cgroups.Resources{Memory: bytes}))
			require.Equal(t, swap, testenv.UnitProperties(t, name, "MemorySwapMax")["MemorySwapMax"])
			require.Equal(t, swap, groupFile(t, c, "", "memory.swap.max"))
			look(bytes)
		}
	}

	p := c.Command("sleep", "60s")
	require.NoError(t, p.Start(t.Context()))
	require.Equal(t, scope+"/container", testenv.SystemdGroup(t, p.Pid()))
	require.NoError(t, p.Kill())
	_ = p.Wait(t.Context())
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Resume())

	// The name is taken until it ends, and free again then.
	second := newScoped(t, "echo", "again")
	second.Scope = c.Scope
	err = second.Start(t.Context())
	require.ErrorIs(t, err, fs.ErrExist)
	require.NoError(t, c.Kill())
	require.Error(t, c.Wait(t.Context()))
	require.Equal(t, "not-found", testenv.UnitProperties(t, name, "LoadState")["LoadState"])
	second = newScoped(t, "echo", "again")
	second.Scope = c.Scope
	text, err := second.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "again\n", string(text))
}

// TestSystemdStops: systemd ends the container with the scope.
func TestSystemdStops(t *testing.T) {
	c := newScoped(t, "sleep", "60s")
	c.Scope.Slice = "testscopes.slice"
	require.NoError(t, c.Start(t.Context()))
	require.Equal(t, "/testscopes.slice/"+c.Scope.Name+"/container", testenv.SystemdGroup(t, c.Pid()))
	// It complains if the groups go before it has seen all: they go as soon as the container has ended.
	out, _ := exec.Command("systemctl", "kill", "-s", "KILL", c.Scope.Name).CombinedOutput()
	var exit *container.ExitError
	require.ErrorAs(t, c.Wait(t.Context()), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal, string(out))
	require.Equal(t, "not-found", testenv.UnitProperties(t, c.Scope.Name, "LoadState")["LoadState"])
}

// TestSystemdUndo: a start that fails after the scope was made leaves none.
func TestSystemdUndo(t *testing.T) {
	c := newScoped(t, "/no/such/program")
	require.ErrorIs(t, c.Start(t.Context()), fs.ErrNotExist)
	require.Equal(t, "not-found", testenv.UnitProperties(t, c.Scope.Name, "LoadState")["LoadState"])

	c = newScoped(t, "echo")
	c.Resources = &cgroups.Resources{Unified: map[string]string{"memory.nothing": "1"}}
	require.Error(t, c.Start(t.Context()))
	require.Equal(t, "not-found", testenv.UnitProperties(t, c.Scope.Name, "LoadState")["LoadState"])
}

// TestSystemdKept: a container that outlives the program has its keeper in the scope, so that nothing of it is in the
// program's own unit; and it is found again.
func TestSystemdKept(t *testing.T) {
	c := newScoped(t, "sleep", "60s")
	c.Memory, c.PidsLimit = 64<<20, 20
	testenv.ReapOrphans(t) // the keeper is one that the first to wait does not see
	c.Keep = &container.Keep{Dir: t.TempDir()}
	require.NoError(t, c.Start(t.Context()))
	scope := "/system.slice/" + c.Scope.Name
	require.Equal(t, scope+"/container", testenv.SystemdGroup(t, c.Pid()))
	require.DirExists(t, filepath.Join(c.CgroupPaths()[0], "../container.keeper"))

	again := container.New(c.Root, c.Args...)
	again.Scope, again.Keep, again.Memory, again.PidsLimit = c.Scope, c.Keep, c.Memory, c.PidsLimit
	require.NoError(t, again.Adopt(t.Context()))
	s, err := again.Stats()
	require.NoError(t, err)
	require.EqualValues(t, 20, s.Pids.Limit)
	require.NoError(t, again.Update(&cgroups.Resources{Pids: 21}))
	require.NoError(t, again.Kill())
	require.Error(t, again.Wait(t.Context()))
	require.Error(t, c.Wait(t.Context()))
	require.Equal(t, "not-found", testenv.UnitProperties(t, c.Scope.Name, "LoadState")["LoadState"])
	require.NoError(t, c.Discard(t.Context()))

	// What has its name later is not the container's.
	other, err := namespace.NewPlaceholder()
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	o := *c.Scope
	o.PIDs = []int{other.Pid()}
	second, err := cgroups.CreateScope(t.Context(), &o)
	require.NoError(t, err)
	require.NoError(t, c.Discard(t.Context()))
	require.Equal(t, "active", testenv.UnitProperties(t, o.Name, "ActiveState")["ActiveState"])
	require.NoError(t, other.Close()) // which does not listen to systemd
	require.NoError(t, second.Stop(t.Context()))
}

// TestScopeWithoutSystemd: the error says so, and nothing is left, which the leak check looks at.
func TestScopeWithoutSystemd(t *testing.T) {
	c := newContainer(t, "echo")
	c.Cgroup = ""
	c.Scope = &cgroups.ScopeOptions{Address: "unix:path=" + t.TempDir() + "/none"}
	begin := time.Now()
	err := c.Start(t.Context())
	require.ErrorIs(t, err, cgroups.ErrNoSystemd)
	require.Less(t, time.Since(begin), time.Minute)
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.Equal(t, "create scope", start.Step)
	require.Regexp(t, `^caisson-[0-9a-f]{12}\.scope$`, start.Path)
}

func TestScopeFields(t *testing.T) {
	for field, change := range map[string]func(*container.Container){
		"Scope.PIDs":      func(c *container.Container) { c.Scope.PIDs = []int{1} },
		"Scope.Resources": func(c *container.Container) { c.Scope.Resources = &cgroups.Resources{} },
		"Scope.Name":      func(c *container.Container) { c.Keep = &container.Keep{Dir: "/nowhere"} },
		"Scope":           func(c *container.Container) { c.Cgroup = "/x" },
		"Scope ":          func(c *container.Container) { c.Scope.Name = "x.service" },
		"Scope  ":         func(c *container.Container) { c.NoCgroup = true },
	} {
		c := container.New(namespace.Dir(t.TempDir()), "echo")
		c.Scope = &cgroups.ScopeOptions{}
		change(c)
		var start *container.StartError
		require.ErrorAs(t, c.Start(t.Context()), &start, field)
		require.Equal(t, strings.TrimSpace(field), start.Path)
	}
}

func init() { programs["leaver-scope"] = leaverScope }

// leaverScope is leaver with a container in a scope, whose name is in the place of the group's.
func leaverScope(args []string) int {
	if err := keptInScope(args[1], args[2], args[3], args[4:]...).Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func keptInScope(root, dir, name string, args ...string) *container.Container {
	c := kept(root, dir, "", args...)
	c.Scope = &cgroups.ScopeOptions{Name: name + ".scope"}
	return c
}

// TestSystemdKeptOOM: the OOM killer's work is known when systemd has removed the control groups before anybody has looked.
func TestSystemdKeptOOM(t *testing.T) {
	testenv.RequireSystemd(t)
	for _, x := range []struct {
		args   []string
		killed bool
	}{{[]string{"hog", "256"}, true}, {[]string{"exit", "137"}, false}} {
		root, dir, name := leaveBy(t, "leaver-scope", x.args...)
		unit := name + ".scope"
		require.Eventually(t, func() bool {
			return testenv.UnitProperties(t, unit, "LoadState")["LoadState"] == "not-found"
		}, time.Minute, 50*time.Millisecond)
		c := keptInScope(root, dir, name, x.args...)
		require.NoError(t, c.Adopt(t.Context()))
		var exit *container.ExitError
		require.ErrorAs(t, c.Wait(t.Context()), &exit)
		require.Equal(t, x.killed, exit.OOMKilled)
	}
}
