package cgroups

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newDevice starts a program in g that tries to use devices: the function returned asks it to.
func newDevice(t testing.TB, g *Group) (try func(what string) string) {
	t.Helper()
	h := newHelper(t, g, "cg-device")
	dir := t.TempDir()
	return func(what string) string {
		t.Helper()
		h.say(dir + " " + what)
		return h.line()
	}
}

func TestDevicesDefault(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	try := newDevice(t, g)
	require.Equal(t, "ok", try("c 1 3 rw"))
	require.Equal(t, "ok", try("c 5 2 r"))
	require.Equal(t, "ok", try("c 136 0 r"))
	require.Equal(t, "denied", try("c 1 1 r"), "mem")
	require.Equal(t, "ok", try("c 1 1 m"))
	require.Equal(t, "denied", try("b 7 0 r"), "loop0")
	require.Equal(t, "denied", try("c 10 200 rw"), "tun")
}

func TestDevicesUpdate(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{AllDevices: true})
	try := newDevice(t, g)
	require.Equal(t, "ok", try("c 1 1 r"))

	// Twice the same, then others: the programs of v2 replace each other.
	null := DeviceRule{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: "rm"}
	for range 2 {
		require.NoError(t, g.Update(&Resources{Devices: []DeviceRule{null}}))
		require.Equal(t, "ok", try("c 1 3 r"))
		require.Equal(t, "denied", try("c 1 3 rw"))
		require.Equal(t, "mknod operation not permitted", try("c 1 5 r"))
	}
	again, err := m.Open(g.Name())
	require.NoError(t, err)
	defer again.Close()
	require.NoError(t, again.Update(&Resources{Devices: append(DefaultDevices(),
		DeviceRule{Allow: true, Type: 'c', Major: 10, Minor: 200})}))
	require.Equal(t, "ok", try("c 10 200 rw"))
	require.Equal(t, "ok", try("c 1 3 rw"))
	require.Equal(t, "denied", try("c 1 1 r"))

	// What v1 cannot do, v2 can.
	err = g.Update(&Resources{Devices: append(DefaultDevices(), DeviceRule{Type: 'c', Major: 1, Minor: 1})})
	if _, missing := m.controller("devices"); missing == nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	} else {
		require.NoError(t, err)
		require.Equal(t, "mknod operation not permitted", try("c 1 1 m"))
		require.Equal(t, "ok", try("c 1 2 m"))
	}
	require.NoError(t, g.Update(&Resources{Devices: []DeviceRule{}}))
	require.Equal(t, "mknod operation not permitted", try("c 1 3 m"))

	require.NoError(t, g.Update(&Resources{Devices: []DeviceRule{{Allow: true, Type: 'a'}}}))
	require.Equal(t, "ok", try("c 1 1 r"))
	require.Equal(t, "ok", try("b 7 0 m"))
}

// TestDevicesEBPF uses the unified hierarchy's programs on a hybrid host too, as if v1's controller were not there.
func TestDevicesEBPF(t *testing.T) {
	m := newManager(t)
	if m.unified == nil {
		t.Skip("needs the unified hierarchy")
	}
	delete(m.controllers, "devices")
	g := newGroup(t, m, &Resources{Devices: []DeviceRule{
		{Allow: true, Type: 'c', Major: 1, Minor: 3}, {Type: 'c', Major: 1, Minor: 3, Access: "w"}}})
	require.NotNil(t, g.unified())
	try := newDevice(t, g)
	require.Equal(t, "ok", try("c 1 3 r"))
	require.Equal(t, "denied", try("c 1 3 rw"))
	require.Equal(t, "ok", try("c 1 3 m"))
	require.Equal(t, "mknod operation not permitted", try("c 1 5 m"))
	fds, err := ourPrograms(g.unified().dir)
	require.NoError(t, err)
	require.Len(t, fds, 1)
	require.NoError(t, unix.Close(fds[0]))
}
