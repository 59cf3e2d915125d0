package engine

import (
	"bytes"
	"context"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/helloworld"
	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/registry"
)

func warmUp() error {
	dir, err := os.MkdirTemp("", "warm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_ = container.New(namespace.Dir(dir), "/nothing").Run(context.Background())
	kept := container.New(namespace.Dir(dir), "/nothing") // makes the keepers' program
	kept.NoCgroup, kept.Keep = true, &container.Keep{Dir: dir}
	_ = kept.Run(context.Background())
	return nil
}

// newEngine opens an engine in a folder of its own and checks, when the test ends, that nothing half made is left.
func newEngine(t *testing.T) *Engine {
	t.Helper()
	testenv.RequireRoot(t)
	dir := t.TempDir()
	e, err := Open(t.Context(), dir, &Options{NetworkNamespace: testenv.NewNetns(t)})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.Close())
		requireTidy(t, e)
	})
	return e
}

// requireTidy checks that a folder holds whole containers and nothing else.
func requireTidy(t *testing.T, e *Engine) {
	t.Helper()
	tmp, err := os.ReadDir(filepath.Join(e.dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, tmp)
	list, err := e.List(context.Background())
	require.NoError(t, err)
	claims, err := os.ReadDir(filepath.Join(e.dir, "containers", "names"))
	require.NoError(t, err)
	require.Len(t, claims, len(list))
	for _, c := range list {
		require.Equal(t, c.ID, e.claimant(c.Name))
	}
}

// pullBusybox pulls an image with a shell, and a volume if one is named, and returns its name.
func pullBusybox(t *testing.T, e *Engine, volumes ...string) string {
	t.Helper()
	config := ocispec.ImageConfig{Cmd: []string{"sh"}, Volumes: map[string]struct{}{}}
	for _, v := range volumes {
		config.Volumes[v] = struct{}{}
	}
	return serve(t, e, "busybox", testimage.New(t, config, testimage.Busybox(t)))
}

// serve pulls an image and returns its name.
func serve(t *testing.T, e *Engine, name string, img *testimage.Image) string {
	t.Helper()
	server := httptest.NewServer(&registry.Server{Store: testimage.Store{name + ":latest": img}})
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/" + name
	_, err := e.Pull(t.Context(), ref, nil)
	require.NoError(t, err)
	return ref
}

func TestRunHelloWorld(t *testing.T) {
	e := newEngine(t)
	_, err := e.Run(t.Context(), &Config{Image: "hello-world"}, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "No such image: hello-world:latest")

	require.True(t, e.Carried("hello-world"))
	require.True(t, e.Carried("docker.io/library/hello-world:latest"))
	for _, other := range []string{"hello-world:v1", "me/hello-world", "quay.io/hello-world", "HELLO", "busybox"} {
		require.False(t, e.Carried(other), other)
	}
	_, err = e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	var out bytes.Buffer
	c, err := e.Run(t.Context(), &Config{Image: "hello-world", Name: "greeter"}, &StartOptions{Stdout: &out})
	require.NoError(t, err)
	require.Contains(t, out.String(), strings.SplitN(helloworld.Greeting("x"), "\n", 3)[1])
	require.Equal(t, Exited, c.State.Status)

	// Another engine on the same folder sees it.
	other, err := Open(t.Context(), e.Root(), nil)
	require.NoError(t, err)
	again, err := other.Inspect(t.Context(), "greeter")
	require.NoError(t, err)
	require.Equal(t, c, again)
	for _, ref := range []string{c.ID, c.ShortID(), "/greeter"} {
		_, err = other.Inspect(t.Context(), ref)
		require.NoError(t, err)
	}
	_, err = other.Inspect(t.Context(), "nobody")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = other.RemoveImage(t.Context(), "hello-world", nil)
	require.ErrorIs(t, err, fs.ErrExist, "a container uses it")

	// After its removal nothing of it is on disk.
	require.NoError(t, other.Remove(t.Context(), "greeter", nil))
	_, err = other.RemoveImage(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(e.Root(), "containers", "*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{e.path("lock"), e.path("names")}, left)
	require.NoError(t, other.Close())
}

func TestCarriedRegistryCanBeOff(t *testing.T) {
	testenv.RequireRoot(t)
	client := &registry.Client{Mirrors: map[string][]string{"docker.io": {"http://127.0.0.1:1"}}, Retries: -1}
	e, err := Open(t.Context(), t.TempDir(), &Options{NoHelloWorld: true, Client: client})
	require.NoError(t, err)
	require.False(t, e.Carried("hello-world"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is asked beyond this machine
	_, err = e.Pull(ctx, "hello-world", nil)
	require.Error(t, err)
}

// Each way in which a container cannot be made leaves nothing.
func TestCreateRefuses(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	taken, err := e.Create(t.Context(), &Config{Image: "hello-world", Name: "taken"})
	require.NoError(t, err)
	missing := filepath.Join(t.TempDir(), "missing")
	for name, config := range map[string]*Config{
		"image":   {Image: "nosuch"},
		"name":    {Image: "hello-world", Name: "taken"},
		"badname": {Image: "hello-world", Name: "../up"},
		"network": {Image: "hello-world", Network: "nosuch"},
		"dir":     {Image: "hello-world", Dir: "relative"},
		"bind": {Image: "hello-world", Mounts: []Mount{
			{Type: "volume", Target: "/v"}, {Type: "bind", Source: missing, Target: "/b"},
		}},
		"volume": {Image: "hello-world", Mounts: []Mount{
			{Type: "volume", Target: "/v"}, {Type: "volume", Source: "a/b", Target: "/b"},
		}},
	} {
		_, err := e.Create(t.Context(), config)
		require.Error(t, err, name)
		requireTidy(t, e)
		volumes, err := e.Volumes().List()
		require.NoError(t, err)
		require.Empty(t, volumes, name)
	}
	require.NoError(t, e.Remove(t.Context(), taken.ID, nil))
	_, err = e.Create(t.Context(), &Config{Image: "hello-world", Name: "taken"})
	require.NoError(t, err)
}

func TestCreateAtOnce(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = e.Create(t.Context(), &Config{Image: "hello-world", Name: "one"}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, fs.ErrExist)
	}
	require.Equal(t, 1, won)
}

func TestStartFails(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	config := &Config{Image: "hello-world", Name: "kept", Command: []string{"/nosuch"}}
	c, err := e.Run(t.Context(), config, nil)
	require.Equal(t, 127, ExitCode(err))
	c, err = e.Inspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.Equal(t, Created, c.State.Status)
	require.Equal(t, 127, c.State.ExitCode)
	require.Contains(t, c.State.Error, "/nosuch")

	config.AutoRemove, config.Name = true, "gone"
	_, err = e.Run(t.Context(), config, nil)
	require.Equal(t, 127, ExitCode(err))
	_, err = e.Inspect(t.Context(), "gone")
	require.ErrorIs(t, err, fs.ErrNotExist)

	_, err = e.Run(t.Context(), &Config{Image: "hello-world", Memory: 1, AutoRemove: true}, nil)
	require.Equal(t, 125, ExitCode(err))
	_, err = e.Run(t.Context(), &Config{Image: "hello-world", Ulimits: []Ulimit{{Name: "nosuch"}}, AutoRemove: true}, nil)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestLife(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e, "/data")
	c, err := e.Create(t.Context(), &Config{
		Image: image, Command: []string{"sh", "-c", "echo x >>/file; cat /file; [ -e /data/again ] || sleep 1000"},
	})
	require.NoError(t, err)
	require.Len(t, c.AnonymousVolumes, 1)
	var out bytes.Buffer
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out})
	require.NoError(t, err)

	other, err := Open(t.Context(), e.dir, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	seen, err := other.Inspect(t.Context(), c.Name)
	require.NoError(t, err)
	require.Equal(t, Running, seen.State.Status)
	require.NotZero(t, seen.State.Pid)
	require.NotEmpty(t, seen.State.Cgroups)
	_, err = other.Start(t.Context(), c.ID, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorIs(t, other.Remove(t.Context(), c.ID, nil), fs.ErrExist)
	require.ErrorIs(t, other.RemoveVolume(t.Context(), c.AnonymousVolumes[0]), fs.ErrExist)
	_, err = other.RemoveImage(t.Context(), image, nil)
	require.ErrorIs(t, err, fs.ErrExist)

	v, err := e.Volumes().Get(c.AnonymousVolumes[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(v.Path, "again"), nil, 0o644))
	p, err := seen.process()
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	require.NoError(t, p.Release())
	require.Equal(t, 137, ExitCode(run.Wait(t.Context())))

	// What it wrote is there when it runs again.
	run, err = e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, run.Wait(t.Context()))
	require.Equal(t, "x\nx\nx\n", out.String())
	for _, g := range seen.State.Cgroups {
		require.NoDirExists(t, g)
	}
	require.NoError(t, other.Remove(t.Context(), c.ID, &RemoveOptions{Volumes: true}))
	_, err = e.Volumes().Get(c.AnonymousVolumes[0])
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = other.RemoveImage(t.Context(), image, nil)
	require.NoError(t, err)
}

// cancelOnWrite is called with the first output.
type cancelOnWrite func()

func (f cancelOnWrite) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestRunEndsWithItsContext(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := e.Run(ctx, &Config{
		Image: image, Command: []string{"sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"},
	}, &StartOptions{Stdout: cancelOnWrite(cancel)})
	require.Equal(t, 9, ExitCode(err))
	require.Equal(t, 9, c.State.ExitCode)
}

// A crash is what it leaves on disk: half-made folders, claims, and documents that say "running".
func TestSweep(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	create := func(name string, remove bool) *Container {
		c, err := e.Create(t.Context(), &Config{
			Image: "hello-world", Name: name, AutoRemove: remove, Mounts: []Mount{{Type: "volume", Target: "/v"}},
		})
		require.NoError(t, err)
		return c
	}
	died, removed, half := create("died", false), create("removed", true), create("half", false)
	for _, c := range []*Container{died, removed} {
		c.State = State{Status: Running, Pid: os.Getpid(), BootID: kernel.BootID(), StartTime: 1, Started: time.Now().UTC()}
		require.NoError(t, e.write(c))
	}
	require.NoError(t, os.Rename(e.path(half.ID), filepath.Join(e.dir, "tmp", half.ID)))
	require.NoError(t, e.writeClaim("stale", newID()))
	require.NoError(t, os.WriteFile(e.claimPath("empty"), nil, 0o600))

	again, err := Open(t.Context(), e.dir, nil)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	requireTidy(t, again)
	list, err := again.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, died.ID, list[0].ID)
	require.Equal(t, Exited, list[0].State.Status)
	require.Equal(t, 137, list[0].State.ExitCode)
	volumes, err := again.Volumes().List()
	require.NoError(t, err)
	require.Len(t, volumes, 1)
	require.Equal(t, died.AnonymousVolumes[0], volumes[0].Name)

	// One whose lock is held does run.
	died.State = State{Status: Running}
	require.NoError(t, e.write(died))
	l, err := durable.Acquire(t.Context(), e.path(died.ID, "lock"), true)
	require.NoError(t, err)
	c, err := again.Inspect(t.Context(), "died")
	require.NoError(t, err)
	require.Equal(t, Running, c.State.Status)
	require.NoError(t, l.Close())
}

// A document that is damaged spoils neither Open nor the other containers' removal.
func TestDamagedRecord(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	c, err := e.Create(t.Context(), &Config{Image: "hello-world"})
	require.NoError(t, err)
	volume, err := e.CreateVolume("data", nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(e.path(c.ID, "container.json"), []byte("{"), 0o600))
	again, err := Open(t.Context(), e.dir, nil)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	_, err = e.Inspect(t.Context(), c.ID)
	require.ErrorContains(t, err, "container.json")

	// The others are shown, and what it may have used stays.
	other, err := e.Create(t.Context(), &Config{Image: "hello-world"})
	require.NoError(t, err)
	list, err := e.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.NoError(t, e.Remove(t.Context(), other.ID, nil))
	require.ErrorContains(t, e.RemoveVolume(t.Context(), volume), "in use")
	_, err = e.RemoveImage(t.Context(), "hello-world", nil)
	require.ErrorContains(t, err, c.ShortID())
	list, err = e.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, Dead, list[0].State.Status)
	require.Equal(t, c.Name, list[0].Name)
	require.NoError(t, e.Remove(t.Context(), c.Name, nil))
	require.NoError(t, e.RemoveVolume(t.Context(), volume))
}

// TestRefusedValuesLeaveNothing: what could not be started is not made, and its name stays free.
func TestRefusedValuesLeaveNothing(t *testing.T) {
	e := newEngine(t)
	_, err := e.Pull(t.Context(), "hello-world", nil)
	require.NoError(t, err)
	missing := filepath.Join(t.TempDir(), "made")
	for name, config := range map[string]Config{
		"memory": {Memory: 1 << 20}, "capability": {CapAdd: []string{"NONSENSE"}}, "hostname": {Hostname: "a b"},
		"ulimit": {Ulimits: []Ulimit{{Name: "nothing", Soft: 1, Hard: 1}}}, "sysctl": {Sysctls: map[string]string{"kernel.core_pattern": "x"}},
	} {
		config.Image, config.Name = "hello-world", "taken"
		config.Mounts = []Mount{{Type: "bind", Source: missing, Target: "/x", MakeSource: true}}
		_, err := e.Create(t.Context(), &config)
		require.Error(t, err, name)
		require.NoFileExists(t, missing)
		list, err := e.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, list, name)
	}
}
