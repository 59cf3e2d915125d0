package ocistate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "A-b_c+d.9", "..a", "-x", strings.Repeat("x", 255)} {
		require.NoError(t, CheckID(id), id)
	}
	for _, id := range []string{"", ".", "..", "a/b", "a b", "a\x00", "é", "a\n", strings.Repeat("x", 256)} {
		require.ErrorIs(t, CheckID(id), ErrInvalidID, id)
	}
}

func newRoot(t *testing.T) Root { return Root(filepath.Join(t.TempDir(), "run", "root")) }

func spec() *specs.Spec {
	limit := int64(64 << 20)
	return &specs.Spec{
		Version: "1.3.0", Root: &specs.Root{Path: "rootfs"}, Process: &specs.Process{NoNewPrivileges: true},
		Hostname: "h", Annotations: map[string]string{"b": "2=3", "a": "1", "empty": ""},
		Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace, Path: "/run/netns/x"}},
			CgroupsPath: "/a/b", Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}},
			UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}},
		},
	}
}

func TestStateRoundTrip(t *testing.T) {
	root := newRoot(t)
	f, err := root.Claim("c1")
	require.NoError(t, err)
	info, err := os.Stat(string(root))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	_, err = root.Load("c1")
	require.ErrorIs(t, err, ErrNotExist, "half made")

	s := New("c1", "/bundle", spec())
	require.NoError(t, s.SetProcess(os.Getpid()))
	s.CgroupPaths = map[string]string{"": "/u/x", "memory": "/m/x", "cpu": "/c/x", "cpuacct": "/c/x"}
	require.NoError(t, f.Save(s))
	got, err := root.Load("c1")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(string(root), "c1"), got.Dir())
	require.Equal(t, "/bundle", got.Bundle)
	require.Equal(t, "/bundle/rootfs", got.Config.Rootfs)
	require.Equal(t, map[string]string{"a": "1", "b": "2=3", "empty": ""}, got.Annotations)
	require.Equal(t, []string{"a=1", "b=2=3", "empty=", "bundle=/bundle"}, got.Config.Labels)
	require.Equal(t, int64(64<<20), got.Config.Cgroups.Memory)
	require.Equal(t, "/run/netns/x", got.NamespacePaths["NEWNET"])
	require.True(t, got.OwnPIDNamespace())
	got.dir = ""
	require.Equal(t, s, got)
	require.NoError(t, f.Remove())
	list, err := root.List()
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestRuncsState: a container that runc has made, or updated, is known too.
func TestRuncsState(t *testing.T) {
	root := newRoot(t)
	f, err := root.Claim("c1")
	require.NoError(t, err)
	defer f.Close()
	start, err := StartTime(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, f.WriteFile(StateFile, fmt.Appendf(nil, `{"id":"c1","init_process_pid":%d,"init_process_start":%d,
		"config":{"rootfs":"/r","version":"1.0.2","labels":["a=b=c","bundle=/b"],"namespaces":[{"type":"NEWPID","path":""}],
		"Hooks":{"poststop":[{"path":"/h","args":["h"],"env":null,"dir":"","timeout":1500000000}],"prestart":null}},
		"cgroup_paths":{"cpu":"/c/x","cpuacct":"/c/x","":"/u/x"}}`, os.Getpid(), start)))
	s, err := root.Load("c1")
	require.NoError(t, err)
	require.Equal(t, "1.0.2", s.OCIVersion)
	require.Equal(t, "/b", s.Bundle)
	require.Equal(t, map[string]string{"a": "b=c"}, s.Annotations)
	require.Equal(t, []string{"/c/x", "/u/x"}, s.Group)
	seconds := 2
	require.Equal(t, []specs.Hook{{Path: "/h", Args: []string{"h"}, Timeout: &seconds}}, s.Poststop)
	require.True(t, s.OwnPIDNamespace())
	status, err := s.Status()
	require.NoError(t, err)
	require.Equal(t, specs.StateRunning, status)
}

func TestStatus(t *testing.T) {
	root := newRoot(t)
	f, err := root.Claim("c1")
	require.NoError(t, err)
	defer f.Close()
	s := New("c1", "/bundle", spec())
	require.NoError(t, s.SetProcess(os.Getpid()))
	s.CgroupPaths = map[string]string{"": t.TempDir(), "freezer": t.TempDir()}
	require.NoError(t, f.Save(s))
	status := func() specs.ContainerState {
		t.Helper()
		s, err := root.Load("c1")
		require.NoError(t, err)
		status, err := s.Status()
		require.NoError(t, err)
		return status
	}
	require.Equal(t, specs.StateRunning, status())
	require.NoError(t, os.WriteFile(f.Path(FIFO), nil, 0o600))
	require.Equal(t, specs.StateCreated, status())
	frozen := filepath.Join(s.CgroupPaths[""], "cgroup.events")
	require.NoError(t, os.WriteFile(frozen, []byte("populated 1\nfrozen 1\n"), 0o600))
	require.Equal(t, Paused, status())
	require.NoError(t, os.WriteFile(frozen, []byte("populated 1\nfrozen 0\n"), 0o600))
	require.Equal(t, specs.StateCreated, status())
	v1 := filepath.Join(s.CgroupPaths["freezer"], "freezer.state")
	require.NoError(t, os.WriteFile(v1, []byte("FROZEN\n"), 0o600))
	require.Equal(t, Paused, status())

	// The pid is another process's, or this one's of before a reboot, or nobody's.
	for _, change := range []func(*State){
		func(s *State) { s.InitProcessStart++ }, func(s *State) { s.BootID = "before" },
		func(s *State) { s.InitProcessPid = 0 }, func(s *State) { s.InitProcessPid = 1 << 30 },
	} {
		other := *s
		change(&other)
		require.NoError(t, f.Save(&other))
		require.Equal(t, specs.StateStopped, status())
	}
}

// TestZombie: a process that nobody has reaped yet is no running container.
func TestZombie(t *testing.T) {
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	require.NoError(t, err)
	s := New("c1", "/bundle", spec())
	require.NoError(t, s.SetProcess(p.Pid))
	require.NoError(t, s.Wait(t.Context()))
	status, err := s.Status()
	require.NoError(t, err)
	require.Equal(t, specs.StateStopped, status)
	require.ErrorIs(t, s.Alive(), ErrNotRunning)
	require.ErrorIs(t, s.Signal(0), ErrNotRunning)
	_, err = p.Wait()
	require.NoError(t, err)
	require.NoError(t, s.Wait(t.Context()))
}

func TestKillNoted(t *testing.T) {
	root := newRoot(t)
	f, err := root.Claim("c1")
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.KillNoted(t.Context()), "there is none")
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "100"}, &os.ProcAttr{})
	require.NoError(t, err)
	require.NoError(t, f.NoteProcess(p.Pid))
	require.NoError(t, f.KillNoted(t.Context()))
	require.NoError(t, f.KillNoted(t.Context()), "it has ended")
	state, err := p.Wait()
	require.NoError(t, err)
	require.Equal(t, "signal: killed", state.String())
	require.ErrorIs(t, f.NoteProcess(p.Pid), fs.ErrNotExist)
}

func TestWaitEndsWithContext(t *testing.T) {
	s := New("c1", "/bundle", spec())
	require.NoError(t, s.SetProcess(os.Getpid()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Wait(ctx), context.DeadlineExceeded)
}

// TestClaimOnce: of many that want an id at once, while others delete what seems half made, one at a time gets it.
func TestClaimOnce(t *testing.T) {
	root := newRoot(t)
	var mu sync.Mutex
	owners, claims := 0, 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				f, err := root.Claim("c")
				if errors.Is(err, ErrExist) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				claims++
				if owners++; owners > 1 {
					t.Error("two owners")
				}
				mu.Unlock()
				mu.Lock()
				owners--
				mu.Unlock()
				if err := f.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 30 {
				f, err := root.Lock("c", time.Minute)
				if errors.Is(err, ErrNotExist) {
					continue
				}
				if err == nil {
					err = f.Remove()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Log("claims:", claims)
	f, err := root.Claim("c")
	require.NoError(t, err)
	require.NoError(t, f.Remove())
	require.NoDirExists(t, filepath.Join(string(root), "c"))
}

// TestRelock: who gave the lock back gets it again, but not that of another container that has taken the id meanwhile.
func TestRelock(t *testing.T) {
	r := Root(t.TempDir())
	f, err := r.Claim("a")
	require.NoError(t, err)
	require.NoError(t, f.Release())
	other, err := r.Lock("a", time.Minute)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, f.Relock(time.Minute))
	_, err = r.Lock("a", 0)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is locked")

	require.NoError(t, f.Release())
	other, err = r.Lock("a", time.Minute)
	require.NoError(t, err)
	require.NoError(t, other.Remove())
	other, err = r.Claim("a")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.ErrorIs(t, f.Relock(time.Minute), ErrNotExist)

	f, err = r.Lock("a", time.Minute)
	require.NoError(t, err)
	require.NoError(t, f.Release())
	other, err = r.Lock("a", time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, f.Relock(0), context.DeadlineExceeded)
	require.NoError(t, other.Remove())
}

func TestLockWaits(t *testing.T) {
	root := newRoot(t)
	f, err := root.Claim("c")
	require.NoError(t, err)
	_, err = root.Claim("c")
	require.ErrorIs(t, err, ErrExist)
	began := time.Now()
	_, err = root.Lock("c", 20*time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, f.Close())
	f, err = root.Lock("c", time.Minute)
	require.NoError(t, err)
	require.NoError(t, f.Remove())
	_, err = root.Lock("c", time.Minute)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = root.Lock("../c", time.Minute)
	require.ErrorIs(t, err, ErrInvalidID)
}

// TestStrangeFiles: what is in the root may be anybody's.
func TestStrangeFiles(t *testing.T) {
	root := Root(t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(string(root), "file"), nil, 0o600))
	require.NoError(t, os.Symlink("/etc", filepath.Join(string(root), "link")))
	require.NoError(t, os.Mkdir(filepath.Join(string(root), "bad"), 0o700))
	bad := filepath.Join(string(root), "bad", StateFile)
	require.NoError(t, os.WriteFile(bad, []byte("{"), 0o600))
	list, err := root.List()
	require.NoError(t, err)
	require.Equal(t, []Entry{{"bad", uint32(os.Getuid())}}, list)
	var syntax *json.SyntaxError
	_, err = root.Load("bad")
	require.ErrorAs(t, err, &syntax)
	require.ErrorContains(t, err, bad)
	for _, id := range []string{"file", "link"} {
		_, err = root.Lock(id, time.Minute)
		require.Error(t, err)
		_, err = root.Load(id)
		require.Error(t, err)
		_, err = root.Claim(id)
		require.ErrorIs(t, err, ErrExist)
	}
}

func FuzzState(f *testing.F) {
	b, err := json.Marshal(New("c1", "/bundle", spec()))
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"config":{"labels":["x","bundle=","=",""]},"init_process_pid":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b, "/nowhere")
		if err != nil {
			return
		}
		s.OwnPIDNamespace()
		if _, err := s.Status(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Log(err)
		}
	})
}
