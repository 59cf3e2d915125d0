package cgroups

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

func newMaking(t *testing.T, m *Manager, name string, r *Resources) *Making {
	t.Helper()
	k, err := m.Begin(name, r)
	require.NoError(t, err)
	if k == nil {
		require.Equal(t, V2, m.mode)
		t.Skip("needs a v1 hierarchy")
	}
	return k
}

// makingNames are a group of the program's own, one below another, which is made with it, and one from the root.
func makingNames(t *testing.T) []string {
	return []string{testenv.CgroupName(t), testenv.CgroupName(t) + "-above/group", "/" + testenv.CgroupName(t) + "-top/above/group"}
}

// TestMaking: what Begin says of the group holds after Finish, and the group is the one that Create makes.
func TestMaking(t *testing.T) {
	for _, name := range makingNames(t) {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) { testMaking(t, name) })
	}
}

func testMaking(t *testing.T, name string) {
	m := newManager(t)
	k := newMaking(t, m, name, everything())
	dir, tasks := k.Entry()
	require.Equal(t, m.unified != nil, dir != nil)
	for _, file := range tasks {
		require.NoFileExists(t, file)
	}
	g, err := k.Finish()
	require.NoError(t, err)
	cleanGroup(t, g)
	require.Subset(t, g.Paths(), k.Paths())
	require.Len(t, k.Paths(), len(m.hierarchies))
	var names []string
	files, err := g.Tasks()
	require.NoError(t, err)
	for _, f := range files {
		if filepath.Base(f.Name()) == "tasks" {
			names = append(names, f.Name())
		}
	}
	require.ElementsMatch(t, names, tasks)
	same := newGroup(t, m, everything())
	for _, h := range m.hierarchies {
		require.NotNil(t, g.in(h))
		for _, file := range []string{"memory.limit_in_bytes", "cpu.shares", "cpuset.cpus", "pids.max", "devices.list"} {
			require.Equal(t, contentOf(t, same.in(h).path, file), contentOf(t, g.in(h).path, file), file)
		}
	}
	_, err = m.Create(g.Name(), nil)
	require.ErrorIs(t, err, os.ErrExist)
	_, err = m.Begin(g.Name(), nil)
	if m.unified != nil {
		require.ErrorIs(t, err, os.ErrExist)
	}
}

func contentOf(t *testing.T, dir, file string) string {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	require.NoError(t, err)
	return string(b)
}

// TestMakingFails fails each step of both parts in turn, and finds nothing left after Abort.
func TestMakingFails(t *testing.T) {
	for _, name := range makingNames(t) {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) { testMakingFails(t, name) })
	}
}

func testMakingFails(t *testing.T, name string) {
	m := newManager(t)
	errStep := errors.New("failed on purpose")
	steps, failAt := 0, 0
	m.hook = func(step, _ string) error {
		if step == "rmdir" {
			return nil
		}
		if steps++; steps == failAt {
			return errStep
		}
		return nil
	}
	defer func() { m.hook = nil }()
	made := false
	for failAt = 1; !made; failAt++ {
		steps = 0
		k, err := m.Begin(name, everything())
		if err == nil {
			if k == nil {
				t.Skip("needs a v1 hierarchy")
			}
			if _, err = k.Finish(); err == nil {
				made = true
			}
			k.Abort()
		}
		if !made {
			require.ErrorIs(t, err, errStep, "step %d", failAt)
		}
		dirs, err := m.Directories(name)
		require.NoError(t, err)
		for _, dir := range dirs {
			require.NoDirExists(t, dir, "step %d", failAt)
			if above := filepath.Dir(dir); strings.HasSuffix(name, "/group") {
				require.NoDirExists(t, above, "step %d", failAt)
			}
		}
	}
	require.Greater(t, steps, 20)
}

func TestMakingRefused(t *testing.T) {
	m := newManager(t)
	k, err := m.Begin("..", nil)
	require.Error(t, err)
	require.Nil(t, k)
}
