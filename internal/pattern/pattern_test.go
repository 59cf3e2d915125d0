package pattern

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	m := Match(`^a+$`)
	require.True(t, m("aa"))
	require.False(t, m("ab"))
	bad := Match(`(`)
	require.Panics(t, func() { bad("") })
}
