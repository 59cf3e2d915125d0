package container_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// A report is what a hook finds.
type report struct {
	Kind   string
	State  specs.State
	UTS    string
	User   string
	Root   string // that the bundle's configuration names
	Mount  bool   // something is mounted there
	Binary bool   // and has the image's files
	Err    string
}

// hookProgram writes what it finds as a line to a file, as a hook of the kind: hook KIND FILE.
func hookProgram(args []string) int {
	r := report{Kind: args[1]}
	if err := r.look(); err != nil {
		r.Err = err.Error()
	}
	b, _ := json.Marshal(r)
	f, err := os.OpenFile(args[2], os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(append(b, '\n'))
	}
	if err != nil {
		fmt.Println(err)
		return 9
	}
	return 0
}

func (r *report) look() (err error) {
	if err := json.NewDecoder(os.Stdin).Decode(&r.State); err != nil {
		return err
	}
	r.UTS, _ = os.Readlink("/proc/self/ns/uts")
	r.User, _ = os.Readlink("/proc/self/ns/user")
	if r.Kind == "startContainer" || r.Kind == "poststop" {
		_, err := os.Stat(r.State.Bundle)
		r.Mount = err == nil
		return nil
	}
	b, err := os.ReadFile(filepath.Join(r.State.Bundle, "config.json"))
	if err != nil {
		return err
	}
	var config specs.Spec
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	r.Root = config.Root.Path
	_, err = os.Stat(filepath.Join(r.Root, "bin/hook"))
	r.Binary = err == nil
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	r.Mount = strings.Contains(string(mounts), " "+r.Root+" ")
	if r.Kind == "createContainer" { // as NVIDIA's do
		err = os.Symlink("target", filepath.Join(r.Root, "tmp/made-by-hook"))
	}
	return err
}

// hooksOf are hooks of all kinds that write to a file.
func hooksOf(t *testing.T, root string) (hooks *specs.Hooks, log string) {
	t.Helper()
	log = filepath.Join(root, "log")
	require.NoError(t, os.WriteFile(log, nil, 0o666))
	require.NoError(t, os.Chmod(log, 0o666))
	one := func(kind string) []specs.Hook {
		h := specs.Hook{Path: filepath.Join(root, "bin/hook"), Args: []string{"hook", kind, log}}
		if kind == "startContainer" {
			h = specs.Hook{Path: "/bin/hook", Args: []string{"hook", kind, "/log"}}
		}
		return []specs.Hook{h}
	}
	return &specs.Hooks{
		//lint:ignore SA1019 files still use it
		Prestart: one("prestart"), CreateRuntime: one("createRuntime"), CreateContainer: one("createContainer"),
		StartContainer: one("startContainer"), Poststart: one("poststart"), Poststop: one("poststop"),
	}, log
}

// reports are what the hooks wrote.
func reports(t *testing.T, log string) (all []report) {
	t.Helper()
	f, err := os.Open(log)
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r report
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r), lines.Text())
		all = append(all, r)
	}
	return all
}

// TestHooks: hooks of all kinds in their order, each in the namespaces that the specification says, with the state, the bundle and the root
// that it says; in a user namespace whose root may not walk to the bundle's rootfs, too.
func TestHooks(t *testing.T) {
	uts, err := os.Readlink("/proc/self/ns/uts")
	require.NoError(t, err)
	user, err := os.Readlink("/proc/self/ns/user")
	require.NoError(t, err)
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("userns=%v", own), func(t *testing.T) {
			c := newContainer(t, "sleep", "0s")
			root := c.Root.Folder()
			var log string
			c.Hooks, log = hooksOf(t, root)
			c.HookState = &specs.State{ID: "me", Annotations: map[string]string{"k": "v"}}
			if own {
				c.UIDMappings, c.GIDMappings = idMaps, idMaps
				require.NoError(t, os.Chown(root, int(idMaps[0].HostID), int(idMaps[0].HostID)))
				require.NoError(t, os.Chmod(filepath.Join(root, "tmp"), 0o777))
			}
			setUp := 0
			c.Setup = func(context.Context, int) error {
				setUp = len(reports(t, log)) + 1
				return nil
			}
			var pid int
			require.NoError(t, c.Start(t.Context()))
			pid = c.Pid()
			require.NoError(t, c.Wait(t.Context()))
			require.Equal(t, 1, setUp, "Setup comes before all hooks")
			all := reports(t, log)
			require.Len(t, all, 6)
			for i, want := range []struct {
				kind   string
				status specs.ContainerState
			}{
				{"prestart", "creating"}, {"createRuntime", "creating"}, {"createContainer", "creating"}, {"startContainer", "created"},
				{"poststart", "running"}, {"poststop", "stopped"},
			} {
				r := all[i]
				require.Empty(t, r.Err, want.kind)
				require.Equal(t, want.kind, r.Kind)
				require.Equal(t, want.status, r.State.Status, want.kind)
				require.Equal(t, "me", r.State.ID)
				require.Equal(t, specs.Version, r.State.Version)
				require.Equal(t, map[string]string{"k": "v"}, r.State.Annotations)
				require.Equal(t, all[0].State.Bundle, r.State.Bundle)
				inside := r.Kind == "createContainer" || r.Kind == "startContainer"
				require.Equal(t, inside, r.UTS != uts, r.Kind)
				require.Equal(t, inside && own, r.User != user, r.Kind)
				switch {
				case inside:
					require.Equal(t, 1, r.State.Pid)
				case r.Kind == "poststop":
					require.Zero(t, r.State.Pid)
				default:
					require.Equal(t, pid, r.State.Pid)
				}
				switch r.Kind {
				case "createContainer":
					require.True(t, r.Mount && r.Binary, "the root is at %s", r.Root)
				case "startContainer":
					require.False(t, r.Mount, "the host's paths are gone")
				case "poststop":
					require.True(t, r.Mount, "the bundle is there still")
				default:
					require.False(t, r.Mount || r.Binary, "on the host it is mounted nowhere")
				}
			}
			target, err := os.Readlink(filepath.Join(root, "tmp/made-by-hook"))
			require.NoError(t, err)
			require.Equal(t, "target", target)
			_, err = os.Lstat(all[0].State.Bundle)
			require.ErrorIs(t, err, os.ErrNotExist, "it goes with the container")
		})
	}
}

// TestHooksThatFail: of whatever kind, the start is undone, those after the end are run if any were, and the error names the hook.
func TestHooksThatFail(t *testing.T) {
	testenv.RequireRoot(t)
	for _, kind := range []string{"Prestart", "CreateRuntime", "CreateContainer", "StartContainer", "Poststart"} {
		for _, how := range []string{"", "kept", "shared"} {
			c := newContainer(t, "sleep", "1h")
			testenv.ReapOrphans(t)
			hooks, log := hooksOf(t, c.Root.Folder())
			fails := []specs.Hook{{Path: filepath.Join(c.Root.Folder(), "bin/exit"), Args: []string{"exit", "7"}}}
			if kind == "StartContainer" {
				fails[0].Path = "/bin/exit"
			}
			c.Hooks = &specs.Hooks{Poststop: hooks.Poststop}
			*map[string]*[]specs.Hook{
				//lint:ignore SA1019 files still use it
				"Prestart": &c.Hooks.Prestart, "CreateRuntime": &c.Hooks.CreateRuntime, "CreateContainer": &c.Hooks.CreateContainer,
				"StartContainer": &c.Hooks.StartContainer, "Poststart": &c.Hooks.Poststart,
			}[kind] = fails
			bundle := filepath.Join(t.TempDir(), "bundle")
			c.HookState = &specs.State{Bundle: bundle}
			keep := &container.Keep{Dir: t.TempDir()}
			switch how {
			case "kept":
				c.Keep = keep
			case "shared":
				c.Shared, c.Stdin = &container.Keep{Dir: keep.Dir, Stdin: true}, strings.NewReader("a")
			}
			err := c.Start(t.Context())
			var start *container.StartError
			require.ErrorAs(t, err, &start, kind)
			require.Equal(t, "Hooks."+kind+"[0]", start.Path)
			require.ErrorContains(t, err, "exit status 7")
			all := reports(t, log)
			require.Len(t, all, 1, kind)
			require.Equal(t, "poststop", all[0].Kind)
			require.NoDirExists(t, bundle)
			if how != "" {
				left, err := filepath.Glob(filepath.Join(keep.Dir, "hooks-*"))
				require.NoError(t, err)
				require.Empty(t, left)
				require.NoError(t, c.Discard(t.Context()))
				again := newContainer(t, "sleep", "0s")
				again.Keep = keep
				require.NoError(t, again.Run(t.Context()), "the folder can be used again")
			}
		}
	}
}

// TestHookThatHangs: its time, or the context's end, ends it and all that it has started.
func TestHookThatHangs(t *testing.T) {
	testenv.RequireCommand(t, "sh", "sleep")
	second := 1
	dir := t.TempDir()
	hang := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 1000 & echo $! >" + dir + "/child; wait"}, Env: []string{"PATH=/bin:/usr/bin"}}}
	ended := func() {
		b, err := os.ReadFile(dir + "/child")
		require.NoError(t, err)
		var pid int
		_, err = fmt.Sscan(string(b), &pid)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(b), ") Z ") // nobody has reaped it yet
		}, time.Minute, time.Millisecond)
	}
	testenv.ReapOrphans(t)
	for _, inside := range []bool{false, true} {
		c := newContainer(t, "sleep", "0s")
		hang[0].Timeout = &second
		if c.Hooks = (&specs.Hooks{CreateRuntime: hang}); inside {
			c.Hooks = &specs.Hooks{CreateContainer: hang}
			c.Namespaces.PID.Host = true
		}
		err := c.Start(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "it did not end within 1 s")
		if !inside {
			continue
		}
		ended()
	}
	c := newContainer(t, "sleep", "0s")
	hang[0].Timeout = nil
	c.Hooks = &specs.Hooks{CreateRuntime: hang}
	require.NoError(t, os.Remove(dir+"/child"))
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if b, err := os.ReadFile(dir + "/child"); err == nil && len(b) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel(os.ErrClosed)
	}()
	require.ErrorIs(t, c.Start(ctx), os.ErrClosed)
}

// TestHooksOfKept: whoever sees first how a container ended that has outlived its program runs the hooks that come then, once.
func TestHooksOfKept(t *testing.T) {
	c := newContainer(t, "cat")
	testenv.ReapOrphans(t)
	root, dir := c.Root.Folder(), t.TempDir()
	hooks, log := hooksOf(t, root)
	c.Hooks = hooks
	c.Keep = &container.Keep{Dir: dir, Stdin: true}
	require.NoError(t, c.Start(t.Context()))
	var others []*container.Container
	for range 3 {
		other := kept(root, dir, c.Cgroup, "cat")
		other.Memory = 0
		require.NoError(t, other.Adopt(t.Context()))
		others = append(others, other)
	}
	require.Len(t, reports(t, log), 5)
	require.NoError(t, c.CloseInput(t.Context()))
	for _, o := range append(others, c) {
		require.NoError(t, o.Wait(t.Context()))
	}
	all := reports(t, log)
	require.Len(t, all, 6)
	require.Equal(t, "poststop", all[5].Kind)
	require.NoDirExists(t, all[5].State.Bundle)
	require.NoError(t, c.Discard(t.Context()))
	require.Len(t, reports(t, log), 6)
}

// TestDiscardRunsHooks: a program that was killed while it started a container leaves hooks that are to be run.
func TestDiscardRunsHooks(t *testing.T) {
	c := newContainer(t, "cat")
	hooks, log := hooksOf(t, c.Root.Folder())
	dir := t.TempDir()
	bundle := filepath.Join(t.TempDir(), "bundle")
	require.NoError(t, os.Mkdir(bundle, 0o700))
	b, err := json.Marshal(map[string]any{"Hooks": hooks, "State": specs.State{ID: "left", Bundle: bundle}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hooks-0123456789ab"), b, 0o600))
	c.Keep = &container.Keep{Dir: dir}
	for range 2 {
		require.NoError(t, c.Discard(t.Context()))
		all := reports(t, log)
		require.Len(t, all, 1)
		require.Equal(t, "poststop left", all[0].Kind+" "+all[0].State.ID)
		require.NoDirExists(t, bundle)
	}
}

// TestPoststopFails is told by Wait, when nothing worse is.
func TestPoststopFails(t *testing.T) {
	c := newContainer(t, "exit", "0")
	c.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/nothing"}}}
	require.NoError(t, c.Start(t.Context()))
	err := c.Wait(t.Context())
	require.ErrorContains(t, err, "Hooks.Poststop[0]")
	require.ErrorContains(t, err, "/nothing")
}

func TestBadHooks(t *testing.T) {
	zero := 0
	for want, hooks := range map[string]*specs.Hooks{
		"Hooks.CreateRuntime[0].Path":      {CreateRuntime: []specs.Hook{{Path: "x"}}},
		"Hooks.Poststop[1].Timeout":        {Poststop: []specs.Hook{{Path: "/x"}, {Path: "/x", Timeout: &zero}}},
		"Hooks.StartContainer[0]: its arg": {StartContainer: []specs.Hook{{Path: "/x", Args: []string{"a", "b\x00"}}}},
	} {
		c := container.New(namespace.Dir("/"), "x")
		c.Hooks = hooks
		require.ErrorContains(t, c.Check(), "check "+want)
	}
	c := container.New(namespace.Dir("/"), "x")
	c.HookState = &specs.State{Bundle: "x/"}
	require.ErrorContains(t, c.Check(), "HookState.Bundle")
	c.HookState, c.Hooks = nil, &specs.Hooks{Poststart: []specs.Hook{{Path: "/x"}}}
	p := &container.Pool{New: func(context.Context) (*container.Container, error) { return c, nil }}
	_, err := p.Get(t.Context())
	require.ErrorContains(t, err, "check Hooks")
}
