package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
)

const cdiSample = `{"cdiVersion": "0.6.0", "kind": "vendor.com/gpu", "containerEdits": {"env": ["COMMON=1"]},
 "devices": [
  {"name": "0", "containerEdits": {"env": ["GPU=0"], "additionalGids": [44, 0],
   "deviceNodes": [{"path": "/dev/gpu0", "type": "c", "major": 195, "minor": 7, "permissions": "rw", "uid": 5}],
   "mounts": [{"hostPath": "/usr/lib/gpu", "containerPath": "/lib/gpu", "options": ["ro", "nosuid", "rbind"]}]}},
  {"name": "pipe", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu-pipe", "type": "p"}]}},
  {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/x"}]}},
  {"name": "missing", "containerEdits": {"deviceNodes": [{"path": "/dev/not-there-at-all"}]}}]}`

func TestCDI(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write(first, "a.json", cdiSample)
	write(first, "b.yaml", "cdiVersion: 0.6.0")
	write(first, "readme", "no CDI file")
	write(second, "c.json", `{"cdiVersion":"1.0.0","kind":"vendor.com/gpu","devices":[{"name":"pipe","containerEdits":{"env":["NEW=1"]}}]}`)
	cdi, err := LoadCDI(first, second, filepath.Join(first, "nothing"))
	require.NoError(t, err)
	require.Equal(t, []string{"vendor.com/gpu=0", "vendor.com/gpu=hooked", "vendor.com/gpu=missing", "vendor.com/gpu=pipe"}, cdi.Devices())

	c := &Container{}
	require.NoError(t, cdi.Apply(c, "vendor.com/gpu=0", "vendor.com/gpu=0", "vendor.com/gpu=pipe"))
	require.Equal(t, []string{"COMMON=1", "GPU=0", "NEW=1"}, c.Env, "the later folder's pipe holds")
	require.Equal(t, []string{"44"}, c.Groups)
	require.Equal(t, []Mount{{Type: "bind", Source: "/usr/lib/gpu", Target: "/lib/gpu", Recursive: true, TopFlags: ReadOnly | NoSuid}}, c.Mounts)
	require.Equal(t, "/dev/gpu0", c.Nodes[0].Path)
	require.Equal(t, uint32(5), *c.Nodes[0].UID)
	require.Equal(t, []cgroups.DeviceRule{{Allow: true, Type: 'c', Major: 195, Minor: 7, Access: "rw"}}, c.DeviceRules)

	c = &Container{}
	require.ErrorIs(t, cdi.Apply(c, "vendor.com/gpu=0", "vendor.com/gpu=hooked"), errors.ErrUnsupported)
	require.ErrorIs(t, cdi.Apply(c, "vendor.com/gpu=0", "vendor.com/gpu=missing"), fs.ErrNotExist)
	err = cdi.Apply(c, "vendor.com/gpu=9")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "b.yaml")
	require.Empty(t, c.Env)
	require.Empty(t, c.Nodes)

	write(first, "twice.json", `{"cdiVersion":"0.5.0","kind":"vendor.com/gpu","devices":[{"name":"0","containerEdits":{}}]}`)
	_, err = LoadCDI(first)
	require.ErrorContains(t, err, "twice.json: devices[0].name")
}

func TestBadCDI(t *testing.T) {
	for field, text := range map[string]string{
		"cdiVersion":     `{"cdiVersion":"2.0.0","kind":"a.b/c"}`,
		"kind":           `{"cdiVersion":"0.6.0","kind":"abc"}`,
		"devices[0]":     `{"cdiVersion":"0.6.0","kind":"a.b/c","devices":[{"name":"../x"}]}`,
		"unknown field":  `{"cdiVersion":"0.6.0","kind":"a.b/c","device":[]}`,
		"unexpected EOF": `{`,
	} {
		_, err := parseCDI([]byte(text))
		require.ErrorContains(t, err, field)
	}
	_, err := parseCDI(make([]byte, maxCDIFile+1))
	require.Error(t, err)
	require.True(t, IsCDIName("vendor.com/gpu=0"))
	for _, s := range []string{"", "/dev/kmsg", "/dev/a=b", "vendor.com/gpu=", "vendor.com=0"} {
		require.False(t, IsCDIName(s), s)
	}
}

func FuzzCDI(f *testing.F) {
	f.Add([]byte(cdiSample))
	f.Add([]byte(`{"cdiVersion":"0.6.0","kind":"a.b/c","containerEdits":{"intelRdt":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseCDI(b)
		if err != nil {
			return
		}
		cdi := &CDI{devices: make(map[string]cdiDevice)}
		for i := range file.Devices {
			d := &file.Devices[i]
			cdi.devices[file.Kind+"="+d.Name] = cdiDevice{"f", &file.Edits, &d.Edits}
		}
		for _, name := range cdi.Devices() {
			c := New(nil, "x")
			if cdi.Apply(c, name) == nil {
				_ = c.Check()
			}
		}
	})
}
