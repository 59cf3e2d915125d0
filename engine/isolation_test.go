package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func TestParseDevice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "device")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for spec, want := range map[string]container.Device{
		file:                 {Source: file, Target: file},
		file + ":/dev/y":     {Source: file, Target: "/dev/y"},
		file + ":rw":         {Source: file, Target: file, Permissions: "rw"},
		file + ":/dev/./y:m": {Source: file, Target: "/dev/y", Permissions: "m"},
	} {
		have, err := ParseDevice(spec)
		require.NoError(t, err, spec)
		require.Equal(t, []container.Device{want}, have)
	}
	for _, spec := range []string{"", "x", file + ":", file + ":/dev/y:x", file + ":/dev/y:", file + ":a:b:c", file + ":y",
		file + "-not-there", filepath.Dir(file)} {
		_, err := ParseDevice(spec)
		require.ErrorIs(t, err, fs.ErrInvalid, spec)
	}
}

func TestIsolation(t *testing.T) {
	c := container.New(namespace.Dir("/"), "x")
	c.Hostname = "h"
	i := Isolation{PIDMode: "host", IPCMode: "none", UTSMode: "host", ShowSystemPaths: true, AppArmor: "p"}
	require.NoError(t, i.apply(c))
	require.True(t, c.Namespaces.PID.Host)
	require.False(t, c.Namespaces.IPC.Host)
	require.Empty(t, c.Hostname)
	require.NotNil(t, c.MaskedPaths)
	require.Equal(t, "p", c.AppArmor)
	require.Equal(t, "/dev/shm", c.Mounts[0].Target)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("cdiVersion: 0.6.0\nkind: a.b/c\n"+
		"devices: [{name: d, containerEdits: {env: [CDI=1]}}]\n"), 0o644))
	c = container.New(nil)
	require.NoError(t, (&Isolation{CDIDevices: []string{"a.b/c=d"}, CDIDirs: []string{dir}}).apply(c))
	require.Equal(t, []string{"CDI=1"}, c.Env)
	require.ErrorIs(t, (&Isolation{CDIDevices: []string{"a.b/c=e"}, CDIDirs: []string{dir}}).apply(c), fs.ErrNotExist)
	for _, i := range []Isolation{{PIDMode: "x"}, {IPCMode: "x"}, {UTSMode: "none"}} {
		require.ErrorIs(t, i.apply(container.New(nil)), fs.ErrInvalid)
	}
	c = container.New(nil)
	require.NoError(t, (&Isolation{PIDMode: "container:x", IPCMode: "container:x"}).apply(c))
	require.False(t, c.Namespaces.PID.Host || c.Namespaces.IPC.Host, "they are joined when it starts")
}

func TestBindOptions(t *testing.T) {
	for spec, want := range map[string]container.Mount{
		"type=bind,src=/a,dst=/b":                                                 {Recursive: true},
		"type=bind,src=/a,dst=/b,ro":                                              {Recursive: true, Flags: container.ReadOnly},
		"type=bind,src=/a,dst=/b,ro,bind-recursive=writable":                      {Recursive: true, TopFlags: container.ReadOnly},
		"type=bind,src=/a,dst=/b,ro,bind-recursive=readonly":                      {Recursive: true, Flags: container.ReadOnly},
		"type=bind,src=/a,dst=/b,bind-nonrecursive,bind-propagation=rslave":       {Propagation: namespace.Slave},
		"type=bind,src=/a,dst=/b,bind-recursive=disabled,bind-propagation=shared": {Propagation: namespace.Shared},
	} {
		m, err := ParseMount(spec)
		require.NoError(t, err, spec)
		var have container.Mount
		m.flags(&have)
		require.Equal(t, want, have, spec)
	}
	for _, spec := range []string{"type=bind,src=/a,dst=/b,bind-recursive=writable", "type=bind,src=/a,dst=/b,bind-recursive=x",
		"type=bind,src=/a,dst=/b,bind-propagation=x", "type=tmpfs,dst=/b,bind-propagation=shared", "dst=/b,bind-recursive=disabled"} {
		_, err := ParseMount(spec)
		require.ErrorIs(t, err, fs.ErrInvalid, spec)
	}
	m, err := ParseVolume("/a:/b:ro,rslave")
	require.NoError(t, err)
	require.Equal(t, "rslave", m.Propagation)
	_, err = ParseVolume("name:/b:rslave")
	require.ErrorIs(t, err, fs.ErrInvalid)
}
