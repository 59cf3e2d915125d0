package container_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// TestResources gives a container limits that it has no field for: they are in force, or refused by name.
func TestResources(t *testing.T) {
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	start := func(r *cgroups.Resources) (*container.Container, error) {
		c := newContainer(t, "sleep", "60s")
		c.Memory, c.Resources = 64<<20, r
		err := c.Start(t.Context())
		if err == nil {
			t.Cleanup(func() {
				_ = c.Kill()
				_ = c.Wait(t.Context())
			})
		}
		return c, err
	}
	c, err := start(&cgroups.Resources{Pids: 17, CPUShares: 300})
	require.NoError(t, err)
	s, err := c.Stats()
	require.NoError(t, err)
	require.EqualValues(t, 17, s.Pids.Limit)
	require.EqualValues(t, 64<<20, s.Memory.Limit)
	require.NoError(t, c.Update(&cgroups.Resources{Pids: 18}))
	s, err = c.Stats()
	require.NoError(t, err)
	require.EqualValues(t, 18, s.Pids.Limit)

	// What the layout lacks: v2 has no swappiness, v1 no memory.high, and hybrid has the first.
	swappiness, field := uint64(10), "Resources.Swappiness"
	lacks := &cgroups.Resources{Swappiness: &swappiness}
	if m.Mode() != cgroups.V2 {
		lacks, field = &cgroups.Resources{Unified: map[string]string{"memory.high": "max"}}, "Resources.Unified[memory.high]"
	}
	_, err = start(lacks)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	var se *container.StartError
	require.ErrorAs(t, err, &se)
	require.Equal(t, "limit "+field, se.Step)
}
