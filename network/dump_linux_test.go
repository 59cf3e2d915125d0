package network

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// TestDump: a list that changed while it was written is asked for again, but not for ever.
func TestDump(t *testing.T) {
	asked, changes := 0, 3
	list := func() ([]int, error) {
		if asked++; asked <= changes {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	}
	all, err := dump(list)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, all)
	require.Equal(t, 4, asked)
	asked, changes = 0, 1000
	_, err = dump(list)
	require.ErrorIs(t, err, netlink.ErrDumpInterrupted)
	require.Equal(t, maxDumps, asked)
}
