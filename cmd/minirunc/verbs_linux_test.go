package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestErrors: the words are those that podman, containerd and Docker look for.
func TestErrors(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	for _, verb := range []string{"state", "kill", "delete", "pause", "resume", "update", "events", "ps"} {
		fails(t, root, "container does not exist", verb, "c1")
		fails(t, root, "invalid container ID format", verb, "../c1")
		r := runc(t, root, verb)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, strconv.Quote(verb)[1:len(verb)+1]+`\" requires`)
	}
	ok(t, root, "delete", "--force", "c1")
	fails(t, root, "no such file", "list")
	for _, verb := range []string{"checkpoint", "restore"} {
		fails(t, root, verb+" is not supported", verb, "--image-path", "x", "c1")
	}
	fails(t, root, "flag provided but not defined: -foo", "state", "--foo", "c1")
	fails(t, root, "flag provided but not defined: -foo", "--foo")
	require.Equal(t, 3, runc(t, root, "nonsense").code)
	fails(t, "/", "should not be set to /", "list")
	fails(t, root, "invalid log-format: xml", "--log-format", "xml", "list")
	fails(t, root, "--rootless", "--rootless", "maybe", "list")
	fails(t, root, "no such file", "--log", "/nowhere/log", "list")
}

func TestVersionAndHelp(t *testing.T) {
	for _, flag := range []string{"--version", "-v", "-version"} {
		out := strings.Split(ok(t, "x", flag), "\n")
		require.Equal(t, "minirunc version "+version, out[0])
		require.Contains(t, out, "spec: 1.3.0")
	}
	for _, args := range [][]string{{}, {"help"}} {
		out := ok(t, "x", args...)
		for _, v := range verbs() {
			require.Contains(t, out, "\n  "+v.name)
		}
	}
	r := runc(t, "x", "kill", "--help")
	require.Zero(t, r.code)
	require.Contains(t, r.stderr, "minirunc kill [options] CONTAINER-ID [SIGNAL]")
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "log")
	r := runc(t, dir, "--log", file, "--log-format", "json", "state", "c1")
	require.Equal(t, result{1, "", "container does not exist\n"}, r)
	r = runc(t, dir, "--log", file, "--log-format=json", "kill", "c1", "\"<ä>\n")
	require.Equal(t, 1, r.code)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	d := json.NewDecoder(strings.NewReader(string(b)))
	for range 2 {
		var line struct {
			Level, Msg string
			Time       time.Time
		}
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&line))
		require.Equal(t, "error", line.Level)
		require.Equal(t, "container does not exist", line.Msg)
		require.WithinDuration(t, time.Now(), line.Time, time.Minute)
	}
	require.Equal(t, 2, strings.Count(string(b), "\n"))

	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for msg, want := range map[string]string{
		"plain-1.2_/@^+": "plain-1.2_/@^+", "two words": `"two words"`, "a\n\"b\"": `"a\n\"b\""`, "": `""`,
	} {
		require.Equal(t, `time="2026-01-02T03:04:05Z" level=info msg=`+want+"\n", string((&logger{}).line(at, "info", msg)))
	}
	r = runc(t, dir, "--debug", "state", "c1")
	require.Contains(t, r.stderr, `level=error msg="container does not exist"`)
}

func TestSignalNames(t *testing.T) {
	for s, want := range map[string]syscall.Signal{
		"0": 0, "9": 9, "KILL": 9, "sigkill": 9, "SigTerm": 15, "usr1": 10, "SYS": 31, "CHLD": 17, "CLD": 17, "IO": 29, "POLL": 29,
		"RTMIN": 34, "SIGRTMIN+3": 37, "rtmax": 64, "RTMAX-1": 63, "64": 64,
	} {
		sig, err := parseSignal(s)
		require.NoError(t, err, s)
		require.Equal(t, want, sig, s)
	}
	for _, s := range []string{"", "FOO", "SIG", "-1", "65", "RTMIN+31", "RTMAX-31", "RTMIN-1", "1x"} {
		_, err := parseSignal(s)
		require.ErrorContains(t, err, "unknown signal", s)
	}
}

func TestStateAndList(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	var s map[string]any
	require.NoError(t, json.Unmarshal([]byte(f.ok(t, "state", "c1")), &s))
	require.Equal(t, map[string]any{
		"ociVersion": "1.3.0", "id": "c1", "pid": float64(f.cmd.Process.Pid), "status": "running", "bundle": "/b",
		"rootfs": "/b/rootfs", "annotations": map[string]any{"a": "b"}, "owner": "", "created": s["created"],
	}, s)
	created, err := time.Parse(time.RFC3339Nano, s["created"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), created, time.Minute)

	s["owner"] = "root"
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(f.ok(t, "list", "--format", "json")), &all))
	require.Equal(t, []map[string]any{s}, all)
	require.Equal(t, "c1\n", f.ok(t, "list", "-q"))
	table := strings.Split(f.ok(t, "list"), "\n")
	require.Equal(t, strings.Fields("ID PID STATUS BUNDLE CREATED OWNER"), strings.Fields(table[0]))
	require.Equal(t, []string{"c1", strconv.Itoa(f.cmd.Process.Pid), "running", "/b", s["created"].(string), "root"},
		strings.Fields(table[1]))
	f.fails(t, "invalid format option", "list", "-f", "xml")

	// Half made, broken, and nobody's.
	require.NoError(t, os.Mkdir(filepath.Join(f.root, "half"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(f.root, "broken"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(f.root, "broken", ocistate.StateFile), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(f.root, "file"), nil, 0o600))
	r := f.run(t, "list", "-q")
	require.Equal(t, "c1\n", r.stdout)
	require.Contains(t, r.stderr, "load container broken")
	f.fails(t, "broken", "state", "broken")
	f.fails(t, "broken", "delete", "broken")
	f.ok(t, "delete", "--force", "broken")
	f.fails(t, "container does not exist", "delete", "half")
	require.NoDirExists(t, filepath.Join(f.root, "half"))

	f.ok(t, "kill", "c1", "KILL")
	f.gone(t)
	require.Contains(t, f.ok(t, "state", "c1"), `"pid": 0`)
}

func TestPs(t *testing.T) {
	f := newFake(t, true, "sh", "-c", "sleep 100 & sleep 100 & wait")
	var pids []int
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal([]byte(f.ok(t, "ps", "--format", "json", "c1")), &pids))
		return len(pids) == 3
	}, time.Minute, time.Millisecond)
	require.Contains(t, pids, f.cmd.Process.Pid)
	testenv.RequireCommand(t, "ps")
	lines := strings.Split(strings.TrimSpace(f.ok(t, "ps", "c1")), "\n")
	require.Len(t, lines, 4)
	require.Contains(t, lines[0], "PID")
	require.Contains(t, f.ok(t, "ps", "c1", "-eo", "pid,args"), "sleep 100")
	f.fails(t, "couldn't find PID field", "ps", "c1", "-eo", "args")
	f.fails(t, "ps --no-such-option", "ps", "c1", "--no-such-option")
	f.fails(t, "invalid format option", "ps", "-f", "xml", "c1")
	f.ok(t, "kill", "--all", "c1", "KILL")
	f.gone(t)
	require.Equal(t, "[]\n", f.ok(t, "ps", "-f", "json", "c1"))
}

func TestKill(t *testing.T) {
	f := newFake(t, true, "sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.01; done")
	time.Sleep(50 * time.Millisecond) // the trap is set
	f.ok(t, "kill", "c1", "0")
	f.fails(t, `unknown signal`, "kill", "c1", "FOO")
	require.Equal(t, "running", f.status(t))
	f.ok(t, "kill", "c1", "USR1")
	f.gone(t)
	f.fails(t, "container not running", "kill", "c1", "KILL")
	f.fails(t, "container not running", "kill", "c1")
	f.ok(t, "kill", "--all", "c1", "KILL")
	f.ok(t, "delete", "c1")
	f.fails(t, "container does not exist", "delete", "c1")
	f.fails(t, "container does not exist", "kill", "--all", "c1")
	f.ok(t, "delete", "-f", "c1")
	for _, dir := range f.Group {
		require.NoDirExists(t, dir)
	}
}

// TestKillShared: without a PID namespace of its own, a container's other processes do not end with its first one.
func TestKillShared(t *testing.T) {
	for _, by := range []string{"kill", "delete", "end"} {
		t.Run(by, func(t *testing.T) {
			f := newFake(t, false, "sh", "-c", "sleep 100 & sleep 100 & wait")
			require.Eventually(t, func() bool { return len(f.pids(t)) == 3 }, time.Minute, time.Millisecond)
			pids := f.pids(t)
			switch by {
			case "kill":
				f.ok(t, "kill", "c1", "KILL")
			case "delete":
				f.ok(t, "delete", "--force", "c1")
			default:
				require.NoError(t, syscall.Kill(f.cmd.Process.Pid, syscall.SIGKILL))
				f.gone(t)
				require.NotEmpty(t, f.pids(t))
				f.fails(t, "container not running", "kill", "c1", "TERM")
				f.ok(t, "delete", "c1")
			}
			for _, pid := range pids {
				require.Eventually(t, func() bool { return dead(pid) }, time.Minute, time.Millisecond)
			}
		})
	}
}

func (f *fake) pids(t testing.TB) (pids []int) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(f.ok(t, "ps", "--format", "json", "c1")), &pids))
	return pids
}

// dead says whether a process has ended, reaped or not.
func dead(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestDelete(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	f.fails(t, "cannot delete container c1 that is not stopped: running", "delete", "c1")
	require.Equal(t, "running", f.status(t))
	f.ok(t, "pause", "c1")
	f.fails(t, "cannot delete container c1 that is not stopped: paused", "delete", "c1")
	f.ok(t, "delete", "--force", "c1")
	require.NoDirExists(t, filepath.Join(f.root, "c1"))
	for _, dir := range f.Group {
		require.NoDirExists(t, dir)
	}
}

// TestDeleteCreated: what was created and never started is deleted without force.
func TestDeleteCreated(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	require.NoError(t, os.WriteFile(filepath.Join(f.root, "c1", ocistate.FIFO), nil, 0o600))
	require.Equal(t, "created", f.status(t))
	f.ok(t, "delete", "c1")
	require.Eventually(t, func() bool { return dead(f.InitProcessPid) }, time.Minute, time.Millisecond)
}

// TestOtherPid: a process that has got the container's number, or was there before a reboot, is left alone.
func TestOtherPid(t *testing.T) {
	for _, change := range []func(*ocistate.State){
		func(s *ocistate.State) { s.InitProcessStart++ },
		func(s *ocistate.State) { s.BootID = "another" },
	} {
		f := newFake(t, true, "sleep", "100")
		f.ok(t, "kill", "c1", "KILL")
		f.gone(t)
		other := play(t, "minirunc", "--version")
		other.Path, other.Args = "/bin/sleep", []string{"sleep", "100"}
		require.NoError(t, other.Start())
		k, err := f.c.lock("c1")
		require.NoError(t, err)
		require.NoError(t, k.SetProcess(other.Process.Pid))
		change(k.State)
		require.NoError(t, k.save())
		require.NoError(t, k.close())
		require.Equal(t, "stopped", f.status(t))
		f.fails(t, "container not running", "kill", "c1", "KILL")
		f.ok(t, "delete", "--force", "c1")
		require.False(t, dead(other.Process.Pid))
		require.NoError(t, other.Process.Kill())
		_ = other.Wait()
	}
}

func TestKillPaused(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	f.ok(t, "pause", "c1")
	f.ok(t, "kill", "c1", "KILL")
	f.gone(t)
	f.ok(t, "delete", "c1")
}

func TestPause(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	f.fails(t, "container not paused", "resume", "c1")
	f.ok(t, "pause", "c1")
	require.Equal(t, "paused", f.status(t))
	f.fails(t, "container not running", "pause", "c1")
	f.ok(t, "resume", "c1")
	require.Equal(t, "running", f.status(t))

	// As runc does on a host with both kinds of control groups.
	if v1 := f.CgroupPaths["freezer"]; v1 != "" {
		file := filepath.Join(v1, "freezer.state")
		require.NoError(t, os.WriteFile(file, []byte("FROZEN"), 0))
		require.Eventually(t, func() bool { return f.status(t) == "paused" }, time.Minute, time.Millisecond)
		f.ok(t, "resume", "c1")
		require.Equal(t, "running", f.status(t))
		require.NoError(t, os.WriteFile(file, []byte("FROZEN"), 0))
	} else {
		f.ok(t, "pause", "c1")
	}
	f.ok(t, "kill", "c1", "KILL")
	f.gone(t)
	f.fails(t, "container not running", "pause", "c1")
	f.fails(t, "container not paused", "resume", "c1")
}

func TestUpdate(t *testing.T) {
	f := newFake(t, true, "sleep", "100")
	limits := func() (memory, swap, pids int64, quota string) {
		t.Helper()
		require.NoError(t, f.withGroup(func(g *cgroups.Group) error {
			s, err := g.Stats()
			require.NoError(t, err)
			memory, swap, pids = s.Memory.Limit, s.Memory.SwapLimit, s.Pids.Limit
			return nil
		}))
		for _, file := range []string{f.CgroupPaths["cpu"] + "/cpu.cfs_quota_us", f.CgroupPaths[""] + "/cpu.max"} {
			if b, err := os.ReadFile(file); err == nil {
				quota = strings.Fields(string(b))[0]
				break
			}
		}
		return memory, swap, pids, quota
	}
	f.ok(t, "update", "--memory", "64m", "--memory-swap", "128m", "--cpu-quota", "25000", "--cpu-period=50000", "--pids-limit", "20",
		"--cpu-share", "512", "--blkio-weight", "0", "--cpuset-cpus", "0", "--kernel-memory", "1g", "c1")
	memory, swap, pids, quota := limits()
	require.Equal(t, int64(64<<20), memory)
	if f.CgroupPaths["memory"] == "" {
		require.Equal(t, int64(64<<20), swap)
	} else {
		require.Equal(t, int64(128<<20), swap)
	}
	require.Equal(t, int64(20), pids)
	require.Equal(t, "25000", quota)
	k, err := f.c.open("c1")
	require.NoError(t, err)
	require.Equal(t, int64(64<<20), k.Config.Cgroups.Memory)
	require.Equal(t, uint64(512), k.Config.Cgroups.CPUShares)

	// A document: what it does not set stays.
	doc := filepath.Join(t.TempDir(), "resources.json")
	require.NoError(t, os.WriteFile(doc, []byte(`{"memory":{"limit":-1},"pids":{"limit":30},"cpu":{"shares":0},"devices":[{"allow":false}]}`), 0o600))
	f.ok(t, "update", "--resources="+doc, "c1")
	memory, swap, pids, quota = limits()
	require.Equal(t, []int64{-1, -1, 30}, []int64{memory, swap, pids})
	require.Equal(t, "25000", quota)
	in, err := os.Open(doc)
	require.NoError(t, err)
	defer in.Close()
	c := &command{stdin: in, stdout: os.Stdout, stderr: os.Stderr}
	require.Zero(t, c.main([]string{"--root", f.root, "update", "-r", "-", "c1"}))

	// Errors name what is wrong, and change nothing.
	for want, args := range map[string][]string{
		"linux.resources.memory.limit":    {"--memory", "1k"},
		"linux.resources.cpu.cpus":        {"--cpuset-cpus", "7-x"},
		`invalid value "x" for flag -mem`: {"--memory", "x"},
		"-pids-limit":                     {"--pids-limit", "many"},
		"no such file":                    {"-r", "/nowhere/x"},
		"l3 cache schema is not enabled":  {"--l3-cache-schema", "L3:0=f"},
		"bandwidth schema is not enabled": {"--mem-bw-schema", "MB:0=20"},
	} {
		f.fails(t, want, append(append([]string{"update"}, args...), "c1")...)
	}
	require.NoError(t, os.WriteFile(doc, []byte(`{"memory":{"limit":"much"}}`), 0o600))
	f.fails(t, "memory.limit", "update", "-r", doc, "c1")
	_, _, pids, _ = limits()
	require.Equal(t, int64(30), pids)

	f.ok(t, "kill", "c1", "KILL")
	f.gone(t)
	f.fails(t, "container not running", "update", "--pids-limit", "10", "c1")
}

func TestEventsStats(t *testing.T) {
	f := newFake(t, true, "sh", "-c", "i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; sleep 100")
	f.ok(t, "update", "--memory", "64m", "--pids-limit", "20", "c1")
	var e struct {
		Type, ID string
		Data     stats
	}
	require.Eventually(t, func() bool {
		d := json.NewDecoder(strings.NewReader(f.ok(t, "events", "--stats", "c1")))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&e))
		return e.Data.CPU.Usage.Total > 0
	}, time.Minute, time.Millisecond)
	require.Equal(t, "stats", e.Type)
	require.Equal(t, "c1", e.ID)
	require.Equal(t, uint64(64<<20), e.Data.Memory.Usage.Limit)
	require.Positive(t, e.Data.Pids.Current)
	require.Equal(t, uint64(20), e.Data.Pids.Limit)
	require.NotEmpty(t, e.Data.Memory.Raw)
	if f.CgroupPaths["cpuset"] != "" {
		require.NotEmpty(t, e.Data.CPUSet.CPUs)
	}
	f.fails(t, "duration interval must be greater than 0", "events", "--interval", "0s", "c1")
	f.ok(t, "kill", "c1", "KILL")
	f.gone(t)
	f.fails(t, "container with id c1 is not running", "events", "--stats", "c1")
}

// TestEvents follows a container that runs out of memory.
func TestEvents(t *testing.T) {
	f := newFake(t, true, "hog")
	f.ok(t, "update", "--memory", "64m", "--memory-swap", "64m", "c1")
	cmd := play(t, "minirunc", "--root", f.root, "events", "--interval", "50ms", "c1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kinds := map[string]int{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e cgroupEvent
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		require.Equal(t, "c1", e.ID)
		if kinds[e.Type]++; kinds["stats"] == 1 && e.Type == "stats" {
			_, err := f.in.Write([]byte("\n"))
			require.NoError(t, err)
		}
		require.Equal(t, e.Type == "stats", e.Data != nil)
	}
	require.NoError(t, cmd.Wait(), "it ends with the container")
	require.Equal(t, 1, kinds["oom"], "%v", kinds)
	f.gone(t)
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	ok(t, dir, "spec", "--bundle", dir)
	fails(t, dir, "exists. Remove it first", "spec", "-b", dir)
	fails(t, dir, "no such file", "spec", "-b", filepath.Join(dir, "nowhere"))
	ok(t, dir, "spec", "--rootless", "-b", t.TempDir())
}
