package namespace

import (
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestAsOwnerNobody: an id that no user namespace has, of which the kernel says nothing, is an error that names it.
func TestAsOwnerNobody(t *testing.T) {
	testenv.RequireRoot(t)
	const none = 1<<32 - 1
	for want, ids := range map[string][2]uint32{"setfsgid 4294967295": {0, none}, "setfsuid 4294967295": {none, 0}} {
		err := AsOwner(ids[0], ids[1], func() error { return errors.New("called") })
		require.ErrorIs(t, err, syscall.EINVAL)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, AsOwner(5, 6, func() error { return nil }))
}
