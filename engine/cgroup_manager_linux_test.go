package engine

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestSystemdManager: containers are scopes of systemd, with their limits, in the slice that the engine or the container names, and
// programs with other options see to them.
func TestSystemdManager(t *testing.T) {
	testenv.RequireSystemd(t)
	e := newEngine(t)
	image := pullBusybox(t, e)
	e.options.CgroupManager, e.options.CgroupParent = "systemd", "testscopes.slice"
	gone := func(unit string) {
		t.Helper()
		require.Equal(t, "not-found", testenv.UnitProperties(t, unit, "LoadState")["LoadState"])
	}

	c, err := e.Create(t.Context(), &Config{Image: image, Command: []string{"cat", "/proc/self/cgroup"}, CgroupNamespace: "host", AutoRemove: true})
	require.NoError(t, err)
	unit := "caisson-" + c.ShortID() + ".scope"
	var out strings.Builder
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, run.Wait(t.Context()))
	require.Contains(t, out.String(), ":/testscopes.slice/"+unit+"/container\n")
	gone(unit)

	plain, err := Open(t.Context(), e.dir, &Options{NetworkNamespace: e.options.NetworkNamespace})
	require.NoError(t, err)
	defer func() { require.NoError(t, plain.Close()) }()
	c = detached(t, plain, &Config{Image: image, CgroupManager: "systemd", CPUs: 0.5, PidsLimit: 20}, "sleep 60")
	unit = "caisson-" + c.ShortID() + ".scope"
	look := func(share string) {
		t.Helper()
		require.Equal(t, map[string]string{"ActiveState": "active", "CPUQuotaPerSecUSec": share, "Description": "container " + c.ID,
			"ControlGroup": "/system.slice/" + unit},
			testenv.UnitProperties(t, unit, "ActiveState", "CPUQuotaPerSecUSec", "Description", "ControlGroup"))
	}
	look("500ms")
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, "/system.slice/"+unit+"/container", testenv.SystemdGroup(t, c.State.Pid))
	require.NoError(t, e.Update(t.Context(), c.ID, &Update{CPUs: 0.25}))
	look("250ms")
	s, err := e.Stats(t.Context(), c.ID)
	require.NoError(t, err)
	require.EqualValues(t, 20, s.Pids.Limit)
	require.NoError(t, e.Pause(t.Context(), c.ID))
	require.NoError(t, e.Unpause(t.Context(), c.ID))
	require.NoError(t, e.Restart(t.Context(), c.ID, 0))
	look("250ms")
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	gone(unit)
}

// TestCgroupManager: what cannot be is refused before anything is made, and without systemd the start's error says so.
func TestCgroupManager(t *testing.T) {
	_, err := Open(t.Context(), t.TempDir(), &Options{CgroupManager: "lxc"})
	require.ErrorContains(t, err, `CgroupManager "lxc"`)
	e := newEngine(t)
	_, err = e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	for want, config := range map[string]*Config{
		`CgroupManager "Systemd"`: {CgroupManager: "Systemd"},
		`CgroupParent "/a"`:       {CgroupManager: "systemd", CgroupParent: "/a"},
		"Scope: ":                 {CgroupManager: "systemd", CgroupParent: "a/b.slice"},
	} {
		config.Image = "hello-world"
		_, err := e.Create(t.Context(), config)
		require.ErrorContains(t, err, want)
	}
	config := &Config{Image: "hello-world", CgroupManager: "systemd", CgroupParent: "machine.slice"}
	text, err := e.Explain(t.Context(), config)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^# have systemd make the scope caisson-[0-9a-f]{12}\.scope in machine\.slice$`, text)
	if _, err := os.Lstat("/run/systemd/private"); err == nil {
		return
	}
	c, err := e.Create(t.Context(), config)
	require.NoError(t, err)
	_, err = e.Start(t.Context(), c.ID, nil)
	require.ErrorIs(t, err, cgroups.ErrNoSystemd)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, e.Remove(t.Context(), c.ID, nil))
}

// TestCgroupsOfScope: what a killed program left of a scope goes with the scope's own groups.
func TestCgroupsOfScope(t *testing.T) {
	dir := t.TempDir()
	group := dir + "/caisson-1.scope/container"
	require.NoError(t, os.MkdirAll(group, 0o755))
	require.NoError(t, os.MkdirAll(dir+"/other.scope/container", 0o755))
	removeCgroups([]string{group, fmt.Sprint(dir, "/other.scope/container")})
	require.NoDirExists(t, dir+"/caisson-1.scope")
	require.DirExists(t, dir+"/other.scope")
}
