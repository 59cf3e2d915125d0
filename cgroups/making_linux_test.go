package cgroups

import (
	"errors"
	"os"
	"path/filepath"
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

// TestMaking: what Begin says of the group holds after Finish, and the group is the one that Create makes.
func TestMaking(t *testing.T) {
	m := newManager(t)
	k := newMaking(t, m, testenv.CgroupName(t), everything())
	dir, tasks := k.Entry()
	require.Equal(t, m.unified != nil, dir != nil)
	for _, file := range tasks {
		require.NoFileExists(t, file)
	}
	g, err := k.Finish()
	require.NoError(t, err)
	cleanGroup(t, g)
	require.ElementsMatch(t, g.Paths(), k.Paths())
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
		name := testenv.CgroupName(t)
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
		for _, h := range m.hierarchies {
			require.NoDirExists(t, filepath.Join(h.path, name), "step %d", failAt)
		}
	}
	require.Greater(t, steps, 20)
}

// TestMakingNotWorthIt: a group below others is made by Create.
func TestMakingNotWorthIt(t *testing.T) {
	m := newManager(t)
	for _, name := range []string{"a/b", "/caisson-test"} {
		k, err := m.Begin(name, nil)
		require.NoError(t, err)
		require.Nil(t, k)
	}
	_, err := m.Begin("..", nil)
	require.Error(t, err)
}
