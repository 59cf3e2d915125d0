package volume

import (
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
	m, err = NewMount("nfs", "addr=192.0.2.1,ro", ":/x")
	require.NoError(t, err)
	require.True(t, m.Foreign() && m.ReadOnly())
	for named, bad := range map[string][3]string{
		`type "none"`: {"none", "", "/a"}, `type "a/b"`: {"a/b", "", "x"}, `option "remount"`: {"ext4", "ro,remount", "/dev/x"},
		`option "rshared"`: {"ext4", "rshared", "/dev/x"}, `option "bind"`: {"ext4", "bind", "/dev/x"}, `option "source=/dev/y"`: {"ext4", "source=/dev/y", "/dev/x"},
		`device "a\x00b"`: {"ext4", "", "a\x00b"},
	} {
		_, err := NewMount(bad[0], bad[1], bad[2])
		require.ErrorIs(t, err, fs.ErrInvalid, bad)
		require.ErrorContains(t, err, named)
	}
}
