package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newPair makes two containers of the same configuration, x by runc and y by minirunc, each in a root of its own.
func newPair(t *testing.T) (peer func(args ...string) result, l *life) {
	t.Helper()
	testenv.RequireCommand(t, "runc")
	l = newLife(t)
	root := t.TempDir()
	peer = func(args ...string) result {
		t.Helper()
		cmd := exec.Command("runc", append([]string{"--root", root}, args...)...)
		return runAside(t, cmd)
	}
	group := l.spec.Linux.CgroupsPath
	l.spec.Version = "1.0.2" // Debian's runc knows no newer one
	l.spec.Linux.CgroupsPath = "/" + l.group + "-runc"
	l.write(t)
	r := peer("create", "--bundle", l.dir, "x")
	t.Cleanup(func() { _ = peer("delete", "--force", "x") })
	require.Zero(t, r.code, r.stderr)
	require.Zero(t, peer("start", "x").code)
	l.spec.Linux.CgroupsPath = group
	l.write(t)
	l.create(t, "x")
	l.ok(t, "start", "x")
	return peer, l
}

// keys returns the paths of all values of a JSON document.
func keys(t *testing.T, document string) []string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(document), &v), document)
	all := make(map[string]bool)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		all[path] = true
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(path+"."+k, e)
			}
		case []any:
			for _, e := range v {
				walk(path+"[]", e)
			}
		}
	}
	walk("", v)
	return slices.Sorted(maps.Keys(all))
}

// TestSameKeysAsRunc: what runc prints has the same shape here, so that what parses it finds everything.
func TestSameKeysAsRunc(t *testing.T) {
	peer, l := newPair(t)
	for _, args := range [][]string{
		{"state", "x"}, {"list", "--format", "json"}, {"events", "--stats", "x"}, {"features"}, {"ps", "--format", "json", "x"},
	} {
		theirs, ours := peer(args...), l.run(t, args...)
		require.Zero(t, theirs.code, "%v: %s", args, theirs.stderr)
		require.Zero(t, ours.code, "%v: %s", args, ours.stderr)
		have := keys(t, ours.stdout)
		for _, k := range keys(t, theirs.stdout) {
			switch {
			case strings.HasPrefix(k, ".annotations.") && args[0] == "features": // each one's own
			case strings.HasPrefix(k, ".data.memory.raw.") || strings.HasPrefix(k, ".data.blkio"): // what has happened so far
			case strings.HasSuffix(k, ".usage") || strings.HasSuffix(k, ".max") || k == ".data.memory.cache": // left out when 0
			default:
				require.Contains(t, have, k, "%v", args)
			}
		}
	}
	table := strings.Fields(strings.SplitN(peer("list").stdout, "\n", 2)[0])
	require.Equal(t, table, strings.Fields(strings.SplitN(l.ok(t, "list"), "\n", 2)[0]))
	require.Equal(t, peer("ps", "x").stdout[:3], l.ok(t, "ps", "x")[:3])

	// The configuration to start from differs where the versions do.
	theirs, ours := t.TempDir(), t.TempDir()
	require.Zero(t, peer("spec", "--bundle", theirs).code)
	l.ok(t, "spec", "--bundle", ours)
	a, err := os.ReadFile(theirs + "/config.json")
	require.NoError(t, err)
	b, err := os.ReadFile(ours + "/config.json")
	require.NoError(t, err)
	for _, k := range keys(t, string(a)) {
		if !strings.HasPrefix(k, ".process.capabilities.") { // older ones had ambient ones
			require.Contains(t, keys(t, string(b)), k)
		}
	}
}

// TestSameErrorsAsRunc: the same mistakes have the same exit statuses and words.
func TestSameErrorsAsRunc(t *testing.T) {
	peer, l := newPair(t)
	same := func(args ...string) {
		t.Helper()
		theirs, ours := peer(args...), result{}
		if args[0] == "create" || args[0] == "run" {
			ours = l.run(t, args...)
		} else {
			ours = runc(t, l.root, args...)
		}
		require.Equal(t, theirs.code, ours.code, "%v: %s", args, ours.stderr)
		_, want, _ := strings.Cut(strings.TrimSpace(theirs.stderr), " msg=")
		_, have, _ := strings.Cut(strings.TrimSpace(ours.stderr), " msg=")
		require.Equal(t, want, have, "%v", args)
	}
	for _, verb := range []string{"state", "kill", "delete", "pause", "resume", "update", "events", "ps", "start"} {
		same(verb, "nobody")
		same(verb, "a/b")
	}
	same("exec", "nobody", "true")
	same("kill", "x", "FOO")
	same("delete", "x")
	same("resume", "x")
	same("start", "x")
	same("create", "--bundle", l.dir, "x")
	same("run", "--bundle", l.dir, "x")
	same("create", "--bundle", l.dir, "a b")
	same("list", "--format", "xml")
	same("ps", "--format", "xml", "x")
	same("events", "--interval", "0s", "x")
	same("pause", "x")
	same("pause", "x")
	same("delete", "x")
	same("exec", "x", "true")
	same("resume", "x")
	same("kill", "x", "KILL")
	for _, run := range []func(...string) result{peer, func(args ...string) result { return runc(t, l.root, args...) }} {
		require.Eventually(t, func() bool {
			return strings.Contains(run("state", "x").stdout, `"stopped"`)
		}, time.Minute, 10*time.Millisecond)
	}
	for _, args := range [][]string{
		{"kill", "x"}, {"kill", "--all", "x"}, {"pause", "x"}, {"resume", "x"}, {"start", "x"}, {"update", "--pids-limit", "10", "x"},
		{"events", "--stats", "x"}, {"exec", "x", "true"}, {"delete", "x"}, {"delete", "x"}, {"delete", "--force", "x"},
	} {
		same(args...)
	}
}

// TestRuncReads: a container's folder is one that runc can work with, and the other way round.
func TestRuncReads(t *testing.T) {
	testenv.RequireCommand(t, "runc")
	l := newLife(t)
	l.spec.Version = "1.0.2"
	l.write(t)
	peer := func(args ...string) result {
		t.Helper()
		return runAside(t, exec.Command("runc", append([]string{"--root", l.root}, args...)...))
	}
	both := func(id string, status specs.ContainerState) {
		t.Helper()
		var theirs shownState
		r := peer("state", id)
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &theirs), r.stderr)
		ours := l.state(t, id)
		require.Equal(t, status, ours.Status)
		theirs.Version, theirs.Rootfs = ours.Version, ours.Rootfs // runc has its own version, and resolves links
		require.Equal(t, theirs, ours)
	}
	l.create(t, "ours")
	both("ours", specs.StateCreated)
	l.ok(t, "start", "ours")
	both("ours", specs.StateRunning)
	require.Zero(t, peer("update", "--pids-limit", "30", "ours").code, "it writes state.json anew")
	both("ours", specs.StateRunning)
	require.Contains(t, peer("ps", "ours").stdout, fmt.Sprint(l.state(t, "ours").Pid))
	r := peer("kill", "ours", "KILL")
	require.Zero(t, r.code, r.stderr)
	require.Eventually(t, func() bool { return l.state(t, "ours").Status == specs.StateStopped }, time.Minute, time.Millisecond)
	both("ours", specs.StateStopped)
	l.ok(t, "delete", "ours")

	r = peer("create", "--bundle", l.dir, "theirs")
	require.Zero(t, r.code, r.stderr)
	require.Zero(t, peer("start", "theirs").code)
	both("theirs", specs.StateRunning)
	l.ok(t, "pause", "theirs")
	l.ok(t, "resume", "theirs")
	require.Zero(t, peer("pause", "theirs").code)
	both("theirs", "paused")
	l.ok(t, "update", "--pids-limit", "20", "theirs")
	l.ok(t, "resume", "theirs")
	l.ok(t, "delete", "--force", "theirs")
	require.Contains(t, peer("state", "theirs").stderr, "container does not exist")
	l.clean(t)
}

// TestSameGroupsAsRunc: cgroupsPath is the same control group as with runc, in each of its forms.
func TestSameGroupsAsRunc(t *testing.T) {
	testenv.RequireCommand(t, "runc")
	l := newLife(t)
	l.spec.Version = "1.0.2"
	root := t.TempDir()
	groups := func(id string) (all []string) {
		t.Helper()
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", l.state(t, id).Pid))
		require.NoError(t, err)
		for line := range strings.Lines(string(b)) {
			if f := strings.SplitN(strings.TrimSpace(line), ":", 3); strings.Contains("memory,pids,cpu", strings.Split(f[1], ",")[0]) && f[1] != "" {
				all = append(all, f[1]+":"+f[2])
			}
		}
		if len(all) == 0 { // v2
			all = strings.Fields(string(b))
		}
		return all
	}
	id, above := l.group, "/"+l.group+"-above"
	for _, path := range []string{"", "/" + id, id + "-relative", above + "/" + id, "../" + id, "/x/../" + id} {
		l.spec.Linux.CgroupsPath = path
		l.write(t)
		r := runAside(t, exec.Command("runc", "--root", root, "create", "--bundle", l.dir, id))
		require.Zero(t, r.code, "%q: %s", path, r.stderr)
		ours := l.root
		l.root = root // each reads the other's state
		want := groups(id)
		l.root = ours
		require.Zero(t, runAside(t, exec.Command("runc", "--root", root, "delete", "--force", id)).code)
		l.create(t, id)
		require.Equal(t, want, groups(id), "%q", path)
		l.ok(t, "delete", "--force", id)
	}
	for _, dir := range []string{"/sys/fs/cgroup/*" + above, "/sys/fs/cgroup" + above} {
		found, err := filepath.Glob(dir)
		require.NoError(t, err)
		for _, d := range found {
			_ = os.Remove(d) // runc leaves it
		}
	}
	l.clean(t)
}
