package volume

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewMount(t *testing.T) {
	m, err := NewMount("", "", "")
	require.NoError(t, err)
	require.Nil(t, m)
	m, err = NewMount("none", "rbind,ro", "/a")
	require.NoError(t, err)
	require.Equal(t, &Mount{"bind", "/a", "ro"}, m)
	require.True(t, m.ReadOnly())
	m, err = NewMount("tmpfs", "size=1m,uid=7", "tmpfs")
	require.NoError(t, err)
	require.Equal(t, &Mount{"tmpfs", "tmpfs", "size=1m,uid=7"}, m)
	for _, bad := range [][3]string{{"tmpfs", "", ""}, {"", "bind", "/a"}, {"none", "bind", "a"}, {"none", "bind,sync", "/a"}, {"tmpfs", "x", "tmpfs"}} {
		_, err := NewMount(bad[0], bad[1], bad[2])
		require.ErrorIs(t, err, fs.ErrInvalid, bad)
	}
	for _, other := range [][3]string{{"nfs", "addr=192.0.2.1", ":/x"}, {"ext4", "", "/dev/x"}, {"none", "", "/a"}} {
		_, err := NewMount(other[0], other[1], other[2])
		require.ErrorIs(t, err, errors.ErrUnsupported, other)
		require.ErrorContains(t, err, other[0])
	}
}
