package peers

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A machine is what a test sees from inside one.
type machine struct {
	Runtime string // the runtime's path
	Name    string // "runc" or "minirunc"
	Dir     string // an empty folder that everybody can reach, removed with the machine
}

const (
	envRuntime = "PEERS_RUNTIME" // these two are set in a machine
	envDir     = "PEERS_DIR"
	envLater   = "PEERS_LATER" // set where another stage of the CI runs these tests
)

// runtimes are what each test runs with: runc is the measure.
var runtimes = []string{"runc", "minirunc"}

// inMachines runs the test's body in a machine a runtime, each of them this test binary once more. The body's own
// subtests are named by -run as TestX/runtime/subtest. env is added to its environment.
func inMachines(t *testing.T, body func(t *testing.T, m *machine), env ...string) {
	if path := os.Getenv(envRuntime); path != "" {
		// Orphans are for the machine's first process to reap.
		require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
		t.Cleanup(func() { requireNothingRuns(t) }) // after the body's own
		body(t, &machine{Runtime: path, Name: filepath.Base(path), Dir: os.Getenv(envDir)})
		return
	}
	if os.Getenv(envLater) != "" {
		t.Skip("the CI has a stage for it")
	}
	testenv.RequireRoot(t)
	if testing.Short() {
		t.Skip("starts daemons")
	}
	for _, name := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &machine{Runtime: runtimePath(t, name), Name: name}
			out, err := m.run(t, env)
			if err != nil {
				t.Errorf("in the machine: %v\n%s", err, out)
			} else {
				t.Logf("%s", out)
			}
		})
	}
}

// requireNothingRuns fails when another process than the machine's first and this one's is there, for longer than what conmon starts to
// clear a container away may take. A process that went away while it was looked at may have started one that was not there yet.
func requireNothingRuns(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left = nil
		names, err := filepath.Glob("/proc/[0-9]*/cmdline")
		require.NoError(t, err)
		for _, name := range names {
			pid := filepath.Base(filepath.Dir(name))
			if pid == "1" || pid == strconv.Itoa(os.Getpid()) {
				continue
			}
			cmdline, err := os.ReadFile(name)
			if err != nil {
				cmdline = []byte(err.Error())
			}
			left = append(left, pid+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	require.Empty(t, left, "processes are left")
}

// runtimePath returns the path of the runtime of that name; minirunc is built.
func runtimePath(t *testing.T, name string) string {
	t.Helper()
	if name != "minirunc" {
		testenv.RequireCommand(t, name)
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		return path
	}
	testenv.RequireCommand(t, "go")
	path := filepath.Join(newDir(t), name)
	build := exec.Command("go", "build", "-ldflags=-E _early", "-o", path, "github.com/caisson-engine/caisson/cmd/minirunc")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// newDir makes a folder that everybody can reach.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "machine-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// run runs the test whose part t is in a machine, and returns what it printed.
func (m *machine) run(t *testing.T, env []string) ([]byte, error) {
	groups := newGroups(t)
	in, out, err := os.Pipe() // closed by our end, however it comes: then the machine ends
	require.NoError(t, err)
	defer out.Close()
	outer, _, _ := strings.Cut(t.Name(), "/")
	args := append([]string{"machine-init"}, groups...)
	args = append(args, "--", "/proc/self/exe", "-test.run="+innerPattern(outer), "-test.timeout="+timeLeft(t).String())
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	if *update {
		args = append(args, "-update")
	}
	var printed bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &printed, &printed
	cmd.Env = append(append(os.Environ(), env...), envRuntime+"="+m.Runtime, envDir+"="+newDir(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET}
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	_ = in.Close()
	err = cmd.Wait()
	return printed.Bytes(), err
}

// innerPattern is the pattern of -run without its second part, which names the runtime.
func innerPattern(outer string) string {
	parts := strings.Split(runPattern(), "/")
	pattern := "^" + outer + "$"
	if len(parts) > 2 {
		pattern += "/" + strings.Join(parts[2:], "/")
	}
	return pattern
}

// timeLeft is the time until the outer test is over, less what clearing away takes.
func timeLeft(t *testing.T) time.Duration {
	deadline, ok := t.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline)-10*time.Second, time.Second).Round(time.Second)
}

// newGroups makes a control group in each hierarchy, below this process's own. They are removed with all that is below them when
// the test ends.
func newGroups(t *testing.T) []string {
	t.Helper()
	name := testenv.CgroupName(t)
	own := ownGroups(t)
	var groups []string
	for _, h := range mountedHierarchies(t) {
		dir := filepath.Join(h.point, own[h.key()], name)
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { removeGroup(t, dir) })
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if h.fstype == "cgroup2" {
				continue
			}
			value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
			if err == nil {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), value, 0o644))
			}
		}
		groups = append(groups, h.fstype+","+h.options+","+h.point+","+dir)
	}
	return groups
}

// removeGroup removes a group and those below, when the processes are gone.
func removeGroup(t *testing.T, dir string) {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var all []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		err = nil
		for i := len(all) - 1; i >= 0; i-- {
			if e := syscall.Rmdir(all[i]); e != nil && e != syscall.ENOENT {
				err = fmt.Errorf("remove %s: %w", all[i], e)
			}
		}
		if err == nil {
			return
		}
	}
	t.Error(err)
}

// A hierarchy is a mounted hierarchy of control groups.
type hierarchy struct{ point, fstype, options string }

// key is how /proc/self/cgroup names it.
func (h hierarchy) key() string {
	if h.fstype == "cgroup2" {
		return ""
	}
	return h.options
}

func mountedHierarchies(t *testing.T) []hierarchy {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	var all []hierarchy
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if rest[0] != "cgroup" && rest[0] != "cgroup2" {
			continue
		}
		var options []string
		for _, o := range strings.Split(rest[2], ",") {
			switch o {
			case "rw", "ro", "xattr", "nsdelegate", "memory_recursiveprot", "clone_children", "noprefix":
			default:
				if !strings.HasPrefix(o, "release_agent=") {
					options = append(options, o)
				}
			}
		}
		all = append(all, hierarchy{fields[4], rest[0], strings.Join(options, "+")})
	}
	return all
}

// ownGroups returns this process's group by hierarchy.
func ownGroups(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	own := make(map[string]string)
	for line := range strings.Lines(strings.TrimSuffix(string(b), "\n")) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		own[strings.ReplaceAll(parts[1], ",", "+")] = parts[2]
	}
	return own
}
