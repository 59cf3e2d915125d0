package engine

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInUnit(t *testing.T) {
	for groups, want := range map[string]bool{
		"0::/\n":                         false,
		"0::/system.slice/app.service\n": true,
		"0::/user.slice/user-1000.slice/session-2.scope\n":                           true,
		"0::/system.slice/app.service/worker\n":                                      true,
		"0::/machine.slice\n":                                                        false,
		"4:memory:/a.service\n1:name=systemd:/\n0::/\n":                              false,
		"4:memory:/\n1:name=systemd:/system.slice/app.service\n":                     true,
		"3:cpu,cpuacct:/docker/4f1c\n1:name=systemd:/docker/4f1c\n0::/docker/4f1c\n": false,
		"rubbish\n::\n\n": false,
	} {
		require.Equal(t, want, inUnit(groups), "%q", groups)
	}
}

// Where the program is in a unit of systemd, a detached container and its keeper are outside of that.
func TestDetachedOutsideOfUnit(t *testing.T) {
	e := newEngine(t)
	e.keptOnce.Do(func() { e.kept = "/caisson-kept-" + strings.ToLower(t.Name()) })
	c := detached(t, e, &Config{}, "sleep 60")
	r, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", r.c.Pid()))
	require.NoError(t, err)
	for line := range strings.Lines(string(groups)) {
		if !strings.HasSuffix(line, ":/\n") {
			require.Contains(t, line, ":"+e.kept+"/caisson-"+c.ShortID()+"\n")
		}
	}
	require.Contains(t, string(groups), e.kept)
	dirs := r.c.CgroupPaths()
	require.NoError(t, r.Leave())
	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Force: true}))
	for _, dir := range dirs {
		require.NoDirExists(t, dir)
		require.NoDirExists(t, dir+".keeper")
	}
}
