package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

// An error names the field, in JSON and in YAML.
func TestBadFields(t *testing.T) {
	edits := func(text string) string {
		return `{"cdiVersion":"1.1.0","kind":"a.b/c","devices":[{"name":"x","containerEdits":{}},{"name":"y","containerEdits":{` + text + `}}]}`
	}
	old := func(version, text string) string { return strings.Replace(edits(text), "1.1.0", version, 1) }
	in := "devices[1].containerEdits."
	for _, x := range [][2]string{
		{"cdiVersion", `{"cdiVersion":"2.0.0","kind":"a.b/c","devices":[{"name":"x"}]}`},
		{"cdiVersion", `{"kind":"a.b/c","devices":[{"name":"x"}]}`},
		{"kind", `{"cdiVersion":"0.6.0","kind":"abc","devices":[{"name":"x"}]}`},
		{"kind", `{"cdiVersion":"0.5.0","kind":"a.b/c.d","devices":[{"name":"x"}]}`},
		{"annotations", `{"cdiVersion":"0.5.0","kind":"a.b/c","devices":[{"name":"x"}],"annotations":{"a":"b"}}`},
		{"devices: there is none", `{"cdiVersion":"0.6.0","kind":"a.b/c"}`},
		{"devices[0].name", `{"cdiVersion":"0.6.0","kind":"a.b/c","devices":[{"name":"../x"}]}`},
		{"devices[0].name", `{"cdiVersion":"0.4.0","kind":"a.b/c","devices":[{"name":"0"}]}`},
		{"devices[0].annotations", `{"cdiVersion":"0.5.0","kind":"a.b/c","devices":[{"name":"x","annotations":{"a":"b"}}]}`},
		{"devices[1].name: x is described twice", `{"cdiVersion":"0.6.0","kind":"a.b/c","devices":[{"name":"x"},{"name":"x"}]}`},
		{"gpus", `{"cdiVersion":"0.6.0","kind":"a.b/c","devices":[{"name":"x"}],"gpus":[]}`},
		{"enableCMT", edits(`"intelRdt":{"enableCMT":true}`)},
		{in + "env[1]", edits(`"env":["A=1","B"]`)},
		{in + "env[0]", edits(`"env":["=B"]`)},
		{in + "deviceNodes[0].path", edits(`"deviceNodes":[{"path":"x"}]`)},
		{in + "deviceNodes[0].hostPath", edits(`"deviceNodes":[{"path":"/dev/x","hostPath":"x"}]`)},
		{in + "deviceNodes[0].hostPath", old("0.4.0", `"deviceNodes":[{"path":"/dev/x","hostPath":"/x"}]`)},
		{in + "deviceNodes[1].type", edits(`"deviceNodes":[{"path":"/dev/x"},{"path":"/dev/x","type":"x"}]`)},
		{in + "deviceNodes[0].permissions", edits(`"deviceNodes":[{"path":"/dev/x","permissions":"rx"}]`)},
		{in + "mounts[0].hostPath", edits(`"mounts":[{"containerPath":"/x"}]`)},
		{in + "mounts[0].containerPath", edits(`"mounts":[{"hostPath":"/x","containerPath":"x"}]`)},
		{in + "mounts[0].type", old("0.3.0", `"mounts":[{"hostPath":"/x","containerPath":"/x","type":"bind"}]`)},
		{in + "hooks[0].hookName", edits(`"hooks":[{"hookName":"x","path":"/x"}]`)},
		{in + "hooks[0].path", edits(`"hooks":[{"hookName":"poststop","path":"x"}]`)},
		{in + "hooks[0].timeout", edits(`"hooks":[{"hookName":"poststop","path":"/x","timeout":0}]`)},
		{in + "hooks[0].env[0]", edits(`"hooks":[{"hookName":"poststop","path":"/x","env":["A"]}]`)},
		{in + "intelRdt.closID", edits(`"intelRdt":{"closID":"../x"}`)},
		{in + "intelRdt", old("0.6.0", `"intelRdt":{}`)},
		{in + "intelRdt", old("1.0.0", `"intelRdt":{"schemata":[]}`)},
		{in + "additionalGids", old("0.6.0", `"additionalGids":[1]`)},
		{in + "netDevices[0].hostInterfaceName", edits(`"netDevices":[{"name":"x"}]`)},
		{in + "netDevices[1].name", edits(`"netDevices":[{"hostInterfaceName":"a","name":"x"},{"hostInterfaceName":"b","name":"x"}]`)},
		{in + "netDevices", old("1.0.0", `"netDevices":[{"hostInterfaceName":"a","name":"x"}]`)},
		{"", `{`}, {"", ``}, {"", `[]`}, {"", `"x"`}, {"", `null`},
		{"", edits(`"additionalGids":[-1]`)}, {"", edits(`"additionalGids":[4294967296]`)},
		{"", edits(`"deviceNodes":[{"path":"/dev/x","major":"1"}]`)}, {"", edits(`"deviceNodes":[{"path":"/dev/x","major":1e99}]`)},
		{"", edits(`"deviceNodes":{"path":"/dev/x"}`)},
		{"", edits("") + "}"},
	} {
		for kind, parse := range map[string]func([]byte) (*File, error){"JSON": ParseJSON, "YAML": ParseYAML} {
			if kind == "YAML" && strings.Contains(x[1], `"major":"1"`) {
				continue // which is a number there
			}
			_, err := parse([]byte(x[1]))
			require.ErrorContains(t, err, x[0], "%s: %s", kind, x[1])
		}
	}
	_, err := ParseYAML([]byte("cdiVersion: 0.6.0\ncdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x}]\n"))
	require.ErrorContains(t, err, "cdiVersion")
	_, err = ParseYAML([]byte("cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x}]\n---\nx: y\n"))
	require.ErrorContains(t, err, "after the end")
	_, err = ParseJSON([]byte(`{"cdiVersion":"9.0.0","kind":"a.b/c","devices":[{"name":"x"}]}`))
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// bomb is ten lists of ten names for the one before: a hundred thousand million values in 600 bytes.
func bomb(last string) string {
	var b strings.Builder
	b.WriteString("cdiVersion: 0.6.0\nkind: a.b/c\nannotations:\n  a0: &a0 x\n")
	for i := 1; i <= 11; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String() + last
}

func TestYAMLBombs(t *testing.T) {
	nodes := strings.Repeat("    - *n\n", maxNodes/8)
	for name, x := range map[string]struct{ text, want string }{
		"aliases":   {bomb("devices: [{name: x}]\n"), "more than 100000 values"},
		"wide":      {"a: &n {path: /dev/x, type: c, major: 1}\nb:\n" + nodes, "more than 100000 values"},
		"itself":    {"a: &a [*a]\n", ""},
		"merges":    {"a: &a {<<: *a}\n", ""},
		"flow":      {strings.Repeat("[", maxFile/2), ""},
		"flow maps": {strings.Repeat("{a: ", 20_000), ""},
		"depth":     {strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "more than 32 levels"},
		"lists":     {strings.Repeat("- ", 9_000) + "a", "more than 32 levels"},
		"keys":      {strings.Repeat("? ", 9_000) + "a", ""},
		"huge":      {strings.Repeat("#", maxFile+1), "larger than 1048576 bytes"},
		"zeros":     {strings.Repeat("\x00", maxFile), ""},
		"tag":       {"!!binary x: y\n", ""},
		"utf-16":    {"\xff\xfea\x00:\x00b\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := ParseYAML([]byte(x.text))
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, x.want)
			require.Less(t, len(err.Error()), 4096)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(512<<20))
		})
	}
	_, err := ParseJSON([]byte(strings.Repeat(`{"devices":[`, 10_000)))
	require.Error(t, err)
	_, err = ParseJSON(make([]byte, maxFile+1))
	require.ErrorContains(t, err, "larger than")
}

// A folder may hold what is no file, and files of others that are wrong: neither is waited for, and what is right can be had.
func TestHostileFolder(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", "cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{name: x, containerEdits: {env: [A=1]}}]\n")
	require.NoError(t, os.Rename(good, filepath.Join(dir, "elsewhere")))
	require.NoError(t, os.Symlink("elsewhere", good))
	bad := []string{
		write(t, dir, "broken.yaml", "a: [\n"),
		write(t, dir, "newer.json", `{"cdiVersion":"9.0.0","kind":"a.b/c","devices":[{"name":"z"}]}`),
		filepath.Join(dir, "dangling.yaml"), filepath.Join(dir, "loop.json"), filepath.Join(dir, "folder-link.json"), filepath.Join(dir, "huge.json"),
	}
	require.NoError(t, os.Symlink("nowhere", bad[2]))
	require.NoError(t, os.Symlink("loop.json", bad[3]))
	require.NoError(t, os.Symlink(".", bad[4]))
	require.NoError(t, os.WriteFile(bad[5], nil, 0o600))
	require.NoError(t, os.Truncate(bad[5], 1<<40))
	bad = append(bad, special(t, dir)...)

	d, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a.b/c=x"}, d.Names())
	require.Len(t, d.Problems(), len(bad))
	for _, name := range bad {
		require.ErrorContains(t, errors.Join(d.Problems()...), name+": ")
	}
	c := &container.Container{}
	require.NoError(t, d.Apply(c, "a.b/c=x"))
	require.Equal(t, []string{"A=1"}, c.Env)
	err = d.Apply(c, "a.b/c=z")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "newer.json", "the reader of the error sees why")

	_, err = Load(good)
	require.ErrorContains(t, err, "good.yaml", "it is no folder")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sampleJSON), false)
	f.Add([]byte(sampleYAML), true)
	f.Add([]byte(bomb("")), true)
	f.Add([]byte("a: &a {<<: *a}\n"), true)
	f.Add([]byte(`{"cdiVersion":"0.7.0","kind":"a.b/c","devices":[{"name":"x"}],"containerEdits":{"intelRdt":{}}}`), false)
	f.Fuzz(func(t *testing.T, b []byte, isYAML bool) {
		parse := ParseJSON
		if isYAML {
			parse = ParseYAML
		}
		file, err := parse(b)
		if err != nil {
			return
		}
		again, err := json.Marshal(file)
		require.NoError(t, err)
		if len(again) <= maxFile {
			_, err = ParseJSON(again)
			require.NoError(t, err, "%s", again)
		}
		d := &Devices{devices: make(map[string]found)}
		for i := range file.Devices {
			d.devices[file.Kind+"="+file.Devices[i].Name] = found{path: "f", file: file, device: &file.Devices[i]}
		}
		for _, name := range d.Names() {
			require.True(t, IsName(name))
			c := container.New(nil, "x")
			if d.Apply(c, name) == nil {
				_ = c.Check()
			}
		}
	})
}
