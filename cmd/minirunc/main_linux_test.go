package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestMain(m *testing.M) {
	testenv.Lazy("template namespace", func() error {
		if namespace.Privileged() {
			namespace.Prepare(false).Close()
		}
		return nil
	})
	testenv.Main(m, map[string]testenv.Program{
		"minirunc": func(args []string) int {
			if doEarly(args) {
				return 0
			}
			return (&command{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).main(args[1:])
		},
		"hog":     playHog,
		"probe":   playProbe,
		"sleeper": playSleeper,
	})
}

// playHog uses memory until it is killed, when it has read a line.
func playHog([]string) int {
	_, _ = os.Stdin.Read(make([]byte, 1))
	var all [][]byte
	for len(all) < 1<<20 {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	return len(all)
}

// A result is what a command has printed, and how it ended.
type result struct {
	code           int
	stdout, stderr string
}

// runc runs the command in this process.
func runc(t testing.TB, root string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &command{stdin: os.Stdin, stdout: &stdout, stderr: &stderr}
	code := c.main(append([]string{"--root", root}, args...))
	if c.log.file != nil {
		_ = c.log.file.Close()
	}
	return result{code, stdout.String(), stderr.String()}
}

// ok is runc for what is to succeed; it returns what is printed.
func ok(t testing.TB, root string, args ...string) string {
	t.Helper()
	r := runc(t, root, args...)
	require.Zero(t, r.code, "%v: %s", args, r.stderr)
	return r.stdout
}

// fails is runc for what is to fail with exit status 1 and a message.
func fails(t testing.TB, root, message string, args ...string) {
	t.Helper()
	r := runc(t, root, args...)
	require.Equal(t, 1, r.code, "%v", args)
	require.Contains(t, r.stderr, message, "%v", args)
}

// play is a command of a program that the test binary plays.
func play(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Args[0] = name
	return cmd
}

// A fake is a container that create has not made: any process in a control group.
type fake struct {
	*container
	root string
	cmd  *exec.Cmd
	name string // of the group
	in   io.WriteCloser
}

// newFake makes a container c1 that runs args, in the state that create and start would have left it in. The process is reaped
// when it has ended.
func newFake(t *testing.T, own bool, args ...string) *fake {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	f := &fake{root: filepath.Join(t.TempDir(), "root"), name: testenv.CgroupName(t)}
	spec := &specs.Spec{
		Version: "1.3.0", Root: &specs.Root{Path: "rootfs"}, Process: &specs.Process{}, Linux: &specs.Linux{},
		Annotations: map[string]string{"a": "b"},
	}
	if own {
		spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}}
	}
	c := &command{root: f.root, stderr: os.Stderr}
	k, err := c.claim("c1", &bundle.Bundle{Dir: "/b", Spec: spec})
	require.NoError(t, err)
	f.container = k
	m, err := cgroups.Detect()
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, k.noteGroup(m, f.name))
	g, err := m.Create(f.name, nil)
	require.NoError(t, err)
	defer g.Close()
	if args[0] == "hog" {
		self, err := os.Executable()
		require.NoError(t, err)
		args[0] = filepath.Join(t.TempDir(), "hog")
		require.NoError(t, os.Symlink(self, args[0]))
	}
	// It does not begin before it is in the group.
	f.cmd = exec.Command("sh", append([]string{"-c", `read x; exec "$@"`, "sh"}, args...)...)
	f.in, err = f.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, f.cmd.Start())
	require.NoError(t, g.Add(f.cmd.Process.Pid))
	_, err = f.in.Write([]byte("\n"))
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		_ = f.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() { <-ended })
	k.setGroup(g)
	require.NoError(t, k.SetProcess(f.cmd.Process.Pid))
	require.NoError(t, k.save())
	require.NoError(t, k.close())
	t.Cleanup(func() { _ = runc(t, f.root, "delete", "--force", "c1") })
	return f
}

func (f *fake) run(t testing.TB, args ...string) result { t.Helper(); return runc(t, f.root, args...) }
func (f *fake) ok(t testing.TB, args ...string) string  { t.Helper(); return ok(t, f.root, args...) }
func (f *fake) fails(t testing.TB, message string, args ...string) {
	t.Helper()
	fails(t, f.root, message, args...)
}

// status is what the command state says.
func (f *fake) status(t testing.TB) string {
	t.Helper()
	_, rest, found := strings.Cut(f.ok(t, "state", "c1"), `"status": "`)
	require.True(t, found)
	status, _, _ := strings.Cut(rest, `"`)
	return status
}

// gone waits until the container has stopped.
func (f *fake) gone(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return f.status(t) == "stopped" }, time.Minute, 5*time.Millisecond)
}
