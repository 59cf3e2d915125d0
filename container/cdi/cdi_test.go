package cdi

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

const sampleJSON = `{"cdiVersion": "1.1.0", "kind": "vendor.com/gpu.x", "annotations": {"a": "b"}, "containerEdits": {"env": ["COMMON=1"]},
 "devices": [
  {"name": "0", "annotations": {"c": "d"}, "containerEdits": {"env": ["GPU=0"], "additionalGids": [44, 0],
   "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/host0", "type": "c", "major": 195, "minor": 7, "fileMode": 432, "permissions": "rw", "uid": 5, "gid": 6}],
   "mounts": [{"hostPath": "/usr/lib/gpu", "containerPath": "/lib/gpu", "options": ["ro", "nosuid", "rbind"]},
    {"hostPath": "tmpfs", "containerPath": "/run/gpu", "type": "tmpfs", "options": ["size=1m"]}]}},
  {"name": "pipe", "containerEdits": {"deviceNodes": [{"path": "/dev/gpu-pipe", "type": "p"}, {"path": "/dev/gpu-none", "type": "b", "major": 8, "permissions": "none"}]}},
  {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/x", "args": ["x", "y"], "env": ["A=b"], "timeout": 3}]}},
  {"name": "net", "containerEdits": {"netDevices": [{"hostInterfaceName": "eth9", "name": "eth0"}]}},
  {"name": "rdt", "containerEdits": {"intelRdt": {"closID": "c", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L3:0=f"], "enableMonitoring": true}}},
  {"name": "missing", "containerEdits": {"deviceNodes": [{"path": "/dev/not-there-at-all"}]}}]}`

// sampleYAML says the same, as people write YAML: with comments, an octal mode and a name without quotes.
const sampleYAML = `---
# The devices of a vendor.
cdiVersion: "1.1.0"
kind: vendor.com/gpu.x
annotations: {a: b}
containerEdits:
  env: [COMMON=1]
devices:
- name: 0
  annotations:
    c: d
  containerEdits:
    env:
    - "GPU=0"
    additionalGids: [44, 0]
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/host0
      type: c
      major: 195
      minor: 7
      fileMode: 0660
      permissions: rw
      uid: 5
      gid: 6
    mounts:
    - hostPath: /usr/lib/gpu
      containerPath: /lib/gpu
      options: [ro, nosuid, rbind]
    - {hostPath: tmpfs, containerPath: /run/gpu, type: tmpfs, options: [size=1m]}
- name: pipe
  containerEdits:
    deviceNodes:
    - path: /dev/gpu-pipe
      type: p
    - path: /dev/gpu-none
      type: b
      major: 8
      permissions: none
- name: hooked
  containerEdits:
    hooks:
    - hookName: createContainer
      path: /bin/x
      args: [x, "y"]
      env: [A=b]
      timeout: 3
- name: net
  containerEdits:
    netDevices:
    - hostInterfaceName: eth9
      name: eth0
- name: rdt
  containerEdits:
    intelRdt:
      closID: c
      l3CacheSchema: L3:0=f
      memBwSchema: MB:0=20
      schemata: ["L3:0=f"]
      enableMonitoring: true
- name: missing
  containerEdits:
    deviceNodes:
    - path: /dev/not-there-at-all
`

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestYAMLSaysWhatJSONDoes(t *testing.T) {
	j, err := ParseJSON([]byte(sampleJSON))
	require.NoError(t, err)
	y, err := ParseYAML([]byte(sampleYAML))
	require.NoError(t, err)
	require.Equal(t, j, y)
	j2, err := ParseYAML([]byte(sampleJSON)) // which is YAML
	require.NoError(t, err)
	require.Equal(t, j, j2)

	merged, err := ParseYAML([]byte("cdiVersion: 0.6.0\nkind: a.b/c\ndevices:\n- name: x\n  containerEdits:\n    deviceNodes:\n    - &n {path: /dev/x, type: c, major: 1}\n" +
		"    - {<<: *n, path: /dev/y}\n    env: &e [A=1]\n- name: y\n  containerEdits: {env: *e}\n"))
	require.NoError(t, err)
	require.Equal(t, []Node{{Path: "/dev/x", Type: "c", Major: 1}, {Path: "/dev/y", Type: "c", Major: 1}}, merged.Devices[0].Edits.Nodes)
	require.Equal(t, []string{"A=1"}, merged.Devices[1].Edits.Env)
}

func TestApply(t *testing.T) {
	for name, text := range map[string]string{"a.json": sampleJSON, "a.yaml": sampleYAML} {
		dir := t.TempDir()
		path := write(t, dir, name, text)
		write(t, dir, "readme", "no CDI file")
		write(t, dir, "a.yml", "nor this")
		require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.json"), 0o755))
		d, err := Load(dir)
		require.NoError(t, err)
		require.Empty(t, d.Problems())
		k := "vendor.com/gpu.x="
		require.Equal(t, []string{k + "0", k + "hooked", k + "missing", k + "net", k + "pipe", k + "rdt"}, d.Names())
		device, file, err := d.Find(k + "0")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"c": "d"}, device.Annotations)
		require.Equal(t, map[string]string{"a": "b"}, file.Annotations)

		c := &container.Container{Nodes: []specs.LinuxDevice{{Path: "/dev/gpu0"}}, Devices: []container.Device{{Source: "/dev/gpu-none"}, {Source: "/dev/z"}}}
		require.NoError(t, d.Apply(c, k+"0", k+"0", k+"pipe"))
		require.Equal(t, []string{"COMMON=1", "GPU=0"}, c.Env, "once what is for all, and each device once")
		require.Equal(t, []string{"44"}, c.Groups)
		require.Equal(t, []container.Mount{
			{Type: "bind", Source: "/usr/lib/gpu", Target: "/lib/gpu", Recursive: true, TopFlags: container.ReadOnly | container.NoSuid},
			{Type: "tmpfs", Source: "tmpfs", Target: "/run/gpu", Data: "size=1m"},
		}, c.Mounts)
		mode, uid, gid := os.FileMode(0o660), uint32(5), uint32(6)
		require.Equal(t, specs.LinuxDevice{Path: "/dev/gpu0", Type: "c", Major: 195, Minor: 7, FileMode: &mode, UID: &uid, GID: &gid}, c.Nodes[0])
		require.Equal(t, "/dev/gpu-pipe", c.Nodes[1].Path)
		require.Equal(t, specs.LinuxDevice{Path: "/dev/gpu-none", Type: "b", Major: 8}, c.Nodes[2])
		require.Equal(t, []container.Device{{Source: "/dev/z"}}, c.Devices, "what was at the same paths gives way")
		require.Equal(t, []cgroups.DeviceRule{{Allow: true, Type: 'c', Major: 195, Minor: 7, Access: "rw"}}, c.DeviceRules)

		c = &container.Container{}
		for device, field := range map[string]string{"net": "netDevices", "rdt": "intelRdt"} {
			err := d.Apply(c, k+"0", k+device)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorContains(t, err, field)
			require.ErrorContains(t, err, path)
		}
		require.ErrorIs(t, d.Apply(c, k+"0", k+"9"), fs.ErrNotExist)
		require.Equal(t, &container.Container{}, c)

		three := 3
		own := specs.Hook{Path: "/bin/own"}
		had := &specs.Hooks{CreateContainer: []specs.Hook{own}, Poststop: []specs.Hook{own}}
		c.Hooks = had
		require.NoError(t, d.Apply(c, k+"hooked"))
		require.Equal(t, &specs.Hooks{
			CreateContainer: []specs.Hook{own, {Path: "/bin/x", Args: []string{"x", "y"}, Env: []string{"A=b"}, Timeout: &three}},
			Poststop:        []specs.Hook{own},
		}, c.Hooks)
		require.Len(t, had.CreateContainer, 1, "a list that others may have is left alone")
	}
}

// What a later folder says holds; two files of one folder that say the same leave that device out, and no other one.
func TestPriority(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	one := func(version, name, env string) string {
		return "cdiVersion: " + version + "\nkind: a.b/c\ndevices:\n- {name: " + name + ", containerEdits: {env: [" + env + "]}}\n"
	}
	write(t, first, "1.yaml", one("0.5.0", "x", "X=first"))
	write(t, first, "2.yaml", one("0.5.0", "y", "Y=first"))
	write(t, first, "3.json", `{"cdiVersion": "0.5.0", "kind": "a.b/c", "devices": [{"name": "y", "containerEdits": {}}]}`)
	write(t, first, "4.yaml", one("0.5.0", "z", "Z=first"))
	write(t, second, "5.yaml", one("0.3.0", "x", "X=second"))
	env := func(dirs []string, name string) []string {
		d, err := Load(dirs...)
		require.NoError(t, err)
		c := &container.Container{}
		require.NoError(t, d.Apply(c, name))
		return c.Env
	}
	both := []string{first, filepath.Join(first, "nothing"), second}
	require.Equal(t, []string{"X=second"}, env(both, "a.b/c=x"))
	require.Equal(t, []string{"X=first"}, env([]string{second, first}, "a.b/c=x"))
	require.Equal(t, []string{"Z=first"}, env(both, "a.b/c=z"))

	d, err := Load(both...)
	require.NoError(t, err)
	err = d.Apply(&container.Container{}, "a.b/c=y")
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "2.yaml")
	require.ErrorContains(t, err, "3.json")
	require.Equal(t, []error{err}, d.Problems())
	write(t, second, "6.yaml", one("0.3.0", "y", "Y=second"))
	require.Equal(t, []string{"Y=second"}, env(both, "a.b/c=y"), "the later folder's holds, whatever there is in an earlier one")
}

func TestNames(t *testing.T) {
	samples := []string{
		"", "a", "1", "_", "-", ".", "a-b", "-a", "a-", "a_", "a.b.c", "a/b", "1/b", "a/1", "a/", "/b", "a-/b", "a.b/c-d", "a/b/c", "a/b.c", "a/b.", "a b", "a\tb",
		"é", "a\n", "a:b", "0.3.0", "0.2.9", "0.9.0", "0.8.12", "1.0.0", "1.1.0", "v1.1.0", "1.2.0", "1.1", "1.1.", "1.1.x", "x.1.1.0", "0.3.0.0", strings.Repeat("a", 64),
	}
	for like, is := range map[string]func(string) bool{
		`^[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`: isKind,
		`^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$`:                                   isName,
		`^v?(0\.[3-8]|1\.[01])\.[0-9]+$`: func(s string) bool {
			_, ok := minor(s)
			return ok
		},
	} {
		for _, s := range samples {
			require.Equal(t, regexp.MustCompile(like).MatchString(s), is(s), "%s: %q", like, s)
		}
	}
	require.False(t, isKind("a/"+strings.Repeat("b", 64)))
	require.False(t, isKind(strings.Repeat("a", 254)+"/b"))
	require.True(t, IsName("vendor.com/gpu=0"))
	for _, s := range []string{"", "/dev/kmsg", "/dev/a=b", "vendor.com/gpu=", "vendor.com=0"} {
		require.False(t, IsName(s), s)
	}
}
