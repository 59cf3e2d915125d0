package engine

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

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// runLimited runs hello-world with a limit in the engine args[1] and prints the control group's folders.
func runLimited(args []string) int {
	ctx := context.Background()
	e, err := Open(ctx, args[1], nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, err = e.Pull(ctx, "hello-world", nil)
	var c *Container
	if err == nil {
		c, err = e.Create(ctx, &Config{Image: "hello-world", PidsLimit: 50, Network: "none"})
	}
	if err == nil {
		var run *Run
		if run, err = e.Start(ctx, c.ID, nil); err == nil {
			fmt.Println(strings.Join(run.Container().State.Cgroups, "\n"))
			err = run.Wait(ctx)
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// TestCgroupParent: the parent that is given is taken, and is made.
func TestCgroupParent(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	parent := testenv.CgroupName(t)
	for _, option := range []bool{false, true} {
		config := &Config{Image: "hello-world", AutoRemove: true}
		if option {
			e.options.CgroupParent = parent
		} else {
			config.CgroupParent = parent + "/below/"
		}
		c, err := e.Create(t.Context(), config)
		require.NoError(t, err)
		run, err := e.Start(t.Context(), c.ID, nil)
		require.NoError(t, err)
		want := "/" + parent + "/below/caisson-"
		if option {
			want = "/" + parent + "/caisson-"
		}
		require.Contains(t, strings.Join(run.Container().State.Cgroups, "\n"), want)
		require.NoError(t, run.Wait(t.Context()))
	}
	for _, bad := range []string{"../up", "a/../../b", "a\nb"} {
		_, err = e.Create(t.Context(), &Config{Image: "hello-world", CgroupParent: bad})
		require.ErrorContains(t, err, "Cgroup", bad)
	}
}

// TestCgroupOfABusyProgram: a program in a group of its own, as every login session and service of systemd is, cannot make
// groups with limits below it on cgroup v2.
func TestCgroupOfABusyProgram(t *testing.T) {
	e := newEngine(t)
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	if m.Mode() != cgroups.V2 {
		t.Skip("pure cgroup v2")
	}
	g, err := m.Create(testenv.CgroupName(t), nil)
	require.NoError(t, err)
	defer g.Close()
	dir, ok := g.Dir()
	require.True(t, ok)
	testenv.ReapOrphans(t)
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"run-limited", e.dir}, SysProcAttr: &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(dir.Fd()),
	}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "/sys/fs/cgroup/caisson/caisson-")
	// The guardian outlives the program by a moment.
	require.Eventually(t, func() bool { return g.Remove() == nil }, time.Minute, 5*time.Millisecond)
	_, err = os.Stat(filepath.Join("/sys/fs/cgroup", sharedParent))
	require.ErrorIs(t, err, os.ErrNotExist, "it goes with the last group in it")
}

// TestCgroupOfADelegatedUser: an ordinary user's containers have limits where a control group is delegated to the user, beside its program.
func TestCgroupOfADelegatedUser(t *testing.T) {
	u := testenv.NewUser(t, false)
	program, parent := testenv.DelegateCgroup(t, u.ID)
	testenv.ReapOrphans(t)
	cmd := u.Command(t, "run-limited", filepath.Join(u.Home, "store"))
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(program.Fd())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "/sys/fs/cgroup"+parent+"/caisson/caisson-")
}
