package cgroups

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

// playDelegation says what the program may do, then does all of it if it may: "usable", "busy", "error" and what came
// of it, a line each.
func playDelegation([]string) int {
	m, err := Detect()
	if err != nil {
		fmt.Println("detect:", err)
		return 1
	}
	defer m.Close()
	d := m.Delegation()
	fmt.Println(d.Usable, d.Busy, d.NSDelegate, strings.Join(d.Controllers, ","))
	fmt.Println(d.UserManager)
	fmt.Println(errors.Is(d.Err, ErrNotDelegated), d.Err)
	if err := useGroup(m); err != nil {
		fmt.Println(errors.Is(err, ErrNotDelegated), err)
		return 0
	}
	fmt.Println("used")
	return 0
}

// useGroup takes a group through its life.
func useGroup(m *Manager) error {
	if err := m.Evacuate("main"); err != nil {
		return err
	}
	g, err := m.Create("job", &Resources{Memory: 64 << 20, Pids: 20})
	if err != nil {
		return err
	}
	defer g.Close()
	defer func() { _ = g.Remove() }()
	w, err := g.Watch()
	if err != nil {
		return err
	}
	dir, _ := g.Dir()
	c := exec.Command("/proc/self/exe")
	c.Args = []string{"cg-sleep"}
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := c.Start(); err != nil {
		return err
	}
	defer func() { _ = c.Wait() }()
	defer func() { _ = c.Process.Kill() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := w.Next(ctx); err != nil {
		return err
	}
	s, err := g.Stats()
	if err != nil || s.Pids.Limit != 20 || s.Memory.Limit != 64<<20 {
		return fmt.Errorf("limits %d, %d: %w", s.Pids.Limit, s.Memory.Limit, err)
	}
	if err := errors.Join(g.Update(&Resources{Pids: 30}), g.Freeze(ctx), g.Thaw(), g.Kill(ctx)); err != nil {
		return err
	}
	_ = c.Wait()
	return g.Remove()
}

// runDelegation runs cg-delegation as user uid, in g if it is not nil.
func runDelegation(t testing.TB, g *Group, uid uint32) []string {
	t.Helper()
	c := exec.Command(testenv.NewRootfs(t, "cg-delegation", "cg-sleep") + "/bin/cg-delegation")
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if g != nil {
		dir, ok := g.Dir()
		require.True(t, ok)
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 4, "%s", out)
	return lines
}

func TestDelegationOfRoot(t *testing.T) {
	m := newManager(t)
	d := m.Delegation()
	require.NoError(t, d.Err)
	require.True(t, d.Usable)
	require.DirExists(t, d.Group)
	require.Contains(t, d.Controllers, "pids")
}

// TestDelegationOfUser: an ordinary user is told why not; in a group that is his he does everything.
func TestDelegationOfUser(t *testing.T) {
	m := newManager(t)
	lines := runDelegation(t, nil, 1000)
	require.Regexp(t, "^false ", lines[0])
	require.Empty(t, lines[1])
	if m.Mode() != V2 {
		require.Regexp(t, "^true .*cgroup v1.*run as root", lines[2])
		require.Regexp(t, "^true ", lines[3])
		return
	}
	require.Regexp(t, "^true .*Delegate=yes", lines[2])
	require.Regexp(t, "^true ", lines[3])

	g := newGroup(t, m, nil)
	chownDelegated(t, g, 1000)
	lines = runDelegation(t, g, 1000)
	require.Regexp(t, "^true true true .*memory.*pids", lines[0], "the machine mounts with nsdelegate")
	require.Equal(t, "false <nil>", lines[2])
	require.Equal(t, "used", lines[3])
}

// chownDelegated gives the group to a user as systemd does.
func chownDelegated(t testing.TB, g *Group, uid int) {
	t.Helper()
	list, err := os.ReadFile("/sys/kernel/cgroup/delegate")
	require.NoError(t, err)
	for _, f := range append(strings.Fields(string(list)), ".") {
		err := os.Chown(filepath.Join(g.Paths()[0], f), uid, uid)
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
	}
}

// TestDelegationOfUserManager: there is a group that systemd has delegated to the user's manager, elsewhere.
func TestDelegationOfUserManager(t *testing.T) {
	m := newManager(t)
	if m.Mode() != V2 {
		t.Skip("needs a pure cgroup v2 host")
	}
	g, err := m.Create("/user.slice/user-1000.slice/user@1000.service", nil)
	if errors.Is(err, os.ErrExist) {
		t.Skip("user 1000 has a systemd here")
	}
	require.NoError(t, err)
	cleanGroup(t, g)
	chownDelegated(t, g, 1000)
	lines := runDelegation(t, nil, 1000)
	require.Regexp(t, "^false ", lines[0])
	require.Equal(t, g.Paths()[0], lines[1])
	require.Regexp(t, "^true .*user@1000.service is: start with systemd-run", lines[2])
}
