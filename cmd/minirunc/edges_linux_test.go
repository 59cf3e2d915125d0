package main

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestGroupThatWasThere: a container in a group that somebody has made before gets no more devices than in a new one.
func TestGroupThatWasThere(t *testing.T) {
	m := newMade(t, "cat", "/dev/odd")
	m.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/odd", Type: "c", Major: 240, Minor: 77}} // which there is not
	m.write()
	manager, err := cgroups.Detect()
	require.NoError(t, err)
	defer manager.Close()
	name, err := besideOwn(manager, m.spec.Linux.CgroupsPath)
	require.NoError(t, err)
	for _, r := range []*specs.LinuxResources{nil, {}} {
		g, err := manager.Create(name, &cgroups.Resources{AllDevices: true})
		require.NoError(t, err)
		require.NoError(t, g.Close())
		m.spec.Linux.Resources = r
		m.write()
		m.fails(99, "open /dev/odd: operation not permitted", "run", "c")
	}
}

// TestLimitsOfOrdinaryUser: without a control group there are no limits, and who asks for some is told.
func TestLimitsOfOrdinaryUser(t *testing.T) {
	b := &bundle.Bundle{Spec: &specs.Spec{Linux: &specs.Linux{CgroupsPath: "/x"}}}
	m := &making{container: &container{c: &command{rootless: "true"}}, bundle: b}
	denied := fmt.Errorf("mkdir: %w", fs.ErrPermission)
	for _, r := range []*cgroups.Resources{nil, {}, {Devices: cgroups.DefaultDevices()}, {AllDevices: true}} {
		require.NoError(t, m.forgive(denied, limits(r)))
	}
	require.Error(t, m.forgive(fs.ErrInvalid, false), "the path is not one")
	for _, r := range []*cgroups.Resources{{Memory: 1 << 30}, {Pids: 5}, {Unified: map[string]string{"pids.max": "5"}}} {
		require.ErrorIs(t, m.forgive(denied, limits(r)), fs.ErrPermission)
	}
	b.Spec.Linux.CgroupsPath = ""
	require.NoError(t, m.forgive(fs.ErrInvalid, false))
	require.Error(t, m.forgive(denied, true))
}

// TestPreserveWhatIsNotOpen: a descriptor of the runtime's own is none of the caller's.
func TestPreserveWhatIsNotOpen(t *testing.T) {
	m := newMade(t, "exit", "0")
	m.write()
	m.fails(1, "unable to stat preserved-fd 3", "--log", filepath.Join(t.TempDir(), "log"), "run", "--preserve-fds", "1", "c")
}

// TestHookTimeoutOverflows: a timeout that no Duration holds is a long one.
func TestHookTimeoutOverflows(t *testing.T) {
	m := newMade(t, "exit", "0")
	for _, seconds := range []int{math.MaxInt64/int(time.Second) + 1, math.MaxInt64} {
		m.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true", Timeout: &seconds}}}
		m.write()
		m.ok("run", "c")
	}
}

// TestPoststopWithoutBundle: hooks after the deletion are run though the bundle has gone.
func TestPoststopWithoutBundle(t *testing.T) {
	m := newMade(t, "sleep")
	log := filepath.Join(t.TempDir(), "log")
	m.spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "pwd >" + log}}}}
	m.write()
	bundle := filepath.Join(t.TempDir(), "bundle")
	require.NoError(t, os.Mkdir(bundle, 0o755))
	require.NoError(t, os.Rename(filepath.Join(m.dir, "config.json"), filepath.Join(bundle, "config.json")))
	m.ok("create", "--bundle", bundle, "c")
	require.NoError(t, os.RemoveAll(bundle))
	m.ok("delete", "c")
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "/\n", string(b))
}

// TestJoinedUserNamespace joins one whose maker may not let anybody in it change groups.
func TestJoinedUserNamespace(t *testing.T) {
	m := newMade(t, "ids")
	testenv.RequireCommand(t, "unshare")
	maker := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", "echo; exec sleep 60")
	out, err := maker.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, maker.Start())
	t.Cleanup(func() {
		_ = maker.Process.Kill()
		_ = maker.Wait()
	})
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	m.spec.Linux.Namespaces = append(m.spec.Linux.Namespaces, specs.LinuxNamespace{
		Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", maker.Process.Pid),
	})
	m.write()
	require.Equal(t, "1 0 0 [] /  /root\n", m.ok("run", "c"))

	// Mappings beside it are taken if they are what it has.
	m.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}}
	m.spec.Linux.GIDMappings = m.spec.Linux.UIDMappings
	m.write()
	require.Equal(t, "1 0 0 [] /  /root\n", m.ok("run", "c"))
	m.spec.Linux.GIDMappings = []specs.LinuxIDMapping{{Size: 2}}
	m.write()
	m.fails(1, "linux.gidMappings: the user namespace that is joined has other mappings: [0 0 1]", "run", "c")

	// Nobody is in it, and a mount keeps it.
	kept := filepath.Join(t.TempDir(), "ns")
	require.NoError(t, os.WriteFile(kept, nil, 0o600))
	testenv.RequireCommand(t, "mount", "umount")
	out2, err := exec.Command("mount", "--bind", m.spec.Linux.Namespaces[len(m.spec.Linux.Namespaces)-1].Path, kept).CombinedOutput()
	require.NoError(t, err, "%s", out2)
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", kept).Run()) })
	require.NoError(t, maker.Process.Kill())
	_ = maker.Wait()
	m.spec.Linux.Namespaces[len(m.spec.Linux.Namespaces)-1].Path = kept
	m.write()
	m.fails(1, "linux.gidMappings: the user namespace that is joined has other mappings: [0 0 1]", "run", "c")
	m.spec.Linux.GIDMappings = m.spec.Linux.UIDMappings
	m.write()
	require.Equal(t, "1 0 0 [] /  /root\n", m.ok("run", "c"))
}

// TestDeviceAtRoot makes a device that is in no folder, in a root that becomes read-only.
func TestDeviceAtRoot(t *testing.T) {
	m := newMade(t, "cat", "/null")
	m.spec.Root.Readonly = true
	m.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/null", Type: "c", Major: 1, Minor: 3}}
	m.write()
	m.ok("run", "c")
	st, err := os.Lstat(filepath.Join(m.spec.Root.Path, "null"))
	require.NoError(t, err)
	require.NotZero(t, st.Mode()&os.ModeCharDevice)
}

// TestGroupInOneHierarchy: a group that somebody has made in one hierarchy of v1 is made in the others, with its limits.
func TestGroupInOneHierarchy(t *testing.T) {
	m := newMade(t, "cat", "/proc/self/cgroup")
	manager, err := cgroups.Detect()
	require.NoError(t, err)
	defer manager.Close()
	name, err := besideOwn(manager, m.spec.Linux.CgroupsPath)
	require.NoError(t, err)
	dirs, err := manager.Directories(name)
	require.NoError(t, err)
	pids := int64(77)
	m.spec.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}}
	m.spec.Linux.Namespaces = slices.DeleteFunc(m.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace })
	m.write()
	for _, dir := range []string{dirs[0], dirs[len(dirs)-1]} {
		require.NoError(t, os.Mkdir(dir, 0o755))
		out := m.ok("run", "c")
		for line := range strings.Lines(strings.TrimSpace(out)) {
			if !strings.HasPrefix(line, "0::") || len(dirs) == 1 {
				require.Contains(t, line, name, "it is in the group in each hierarchy")
			}
		}
		require.Empty(t, m.left())
	}
}
