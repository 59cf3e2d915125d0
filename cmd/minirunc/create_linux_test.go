package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// playProbe is what the containers of these tests execute.
func playProbe(args []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	if len(args) < 2 {
		return 0
	}
	switch args[1] {
	case "exit":
		n, _ := strconv.Atoi(args[2])
		return n
	case "kill":
		n, _ := strconv.Atoi(args[2])
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		time.Sleep(time.Second)
	case "sleep":
		time.Sleep(time.Minute)
	case "fork":
		cmd := exec.Command("/bin/probe", "sleep")
		if err := cmd.Start(); err != nil {
			return fail(err)
		}
		time.Sleep(time.Minute)
	case "signals": // exits with the number of the first one
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1, syscall.SIGSEGV, syscall.SIGSYS, syscall.Signal(37))
		fmt.Println("ready")
		s, _ := (<-c).(syscall.Signal)
		return int(s)
	case "cat":
		for _, name := range args[2:] {
			b, err := os.ReadFile(name)
			if err != nil {
				return fail(err)
			}
			fmt.Printf("%s", b)
		}
	case "ids":
		wd, _ := os.Getwd()
		groups, _ := os.Getgroups()
		fmt.Println(os.Getpid(), os.Getuid(), os.Getgid(), groups, wd, os.Getenv("A"), os.Getenv("HOME"))
	case "copy":
		b, err := os.ReadFile(args[2])
		if err == nil {
			err = os.WriteFile(args[3], b, 0o644)
		}
		if err != nil {
			return fail(err)
		}
	case "append": // standard input, to a file
		b, err := os.ReadFile("/dev/stdin")
		if err == nil {
			err = appendFile(args[2], append([]byte(args[3]+" "), b...))
		}
		if err != nil {
			return fail(err)
		}
	}
	return 0
}

func appendFile(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(b, '\n'))
	return err
}

// A made is a bundle, and a root of containers that are made of it.
type made struct {
	t    testing.TB
	dir  string
	root string
	spec *specs.Spec
}

// newMade makes a bundle whose container executes the probe.
func newMade(t testing.TB, args ...string) *made {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	m := &made{t: t, dir: t.TempDir(), root: filepath.Join(t.TempDir(), "root")}
	strict := []string{"nosuid", "noexec", "nodev"}
	caps := []string{"CAP_KILL", "CAP_CHOWN"}
	m.spec = &specs.Spec{
		Version: specs.Version, Hostname: "box", Root: &specs.Root{Path: testenv.NewRootfs(t, "probe")},
		Process: &specs.Process{
			Args: append([]string{"probe"}, args...), Cwd: "/", Env: []string{"PATH=/bin"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, strict...)},
		},
		Linux: &specs.Linux{
			CgroupsPath: testenv.CgroupName(t),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths: []string{"/proc/kcore", "/sys/firmware"}, ReadonlyPaths: []string{"/proc/sys"},
		},
	}
	t.Cleanup(func() {
		d := m.do("delete", "--force", "c")
		require.Zero(t, d.run(), d.stderr.String())
		require.Empty(t, m.left())
	})
	return m
}

// write writes config.json.
func (m *made) write() {
	b, err := json.Marshal(m.spec)
	require.NoError(m.t, err)
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, "config.json"), b, 0o644))
}

// left is what is left of containers.
func (m *made) left() []string {
	var names []string
	entries, err := os.ReadDir(m.root)
	if err != nil {
		require.ErrorIs(m.t, err, fs.ErrNotExist)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + m.spec.Linux.CgroupsPath)
	require.NoError(m.t, err)
	return append(names, groups...)
}

// A doing is a command that runs as a process of its own.
type doing struct {
	*exec.Cmd
	m              *made
	stdout, stderr bytes.Buffer
}

func (m *made) do(args ...string) *doing {
	d := &doing{Cmd: play(m.t, "minirunc", append([]string{"--root", m.root}, args...)...), m: m}
	d.Dir = m.dir
	d.Stdout, d.Stderr = &d.stdout, &d.stderr
	d.WaitDelay = 100 * time.Millisecond
	return d
}

// run returns the exit status.
func (d *doing) run() int {
	if err := d.Run(); d.ProcessState == nil {
		require.NoError(d.m.t, err)
	}
	return d.ProcessState.ExitCode()
}

func (m *made) ok(args ...string) string {
	m.t.Helper()
	d := m.do(args...)
	require.Zero(m.t, d.run(), "%v: %s", args, d.stderr.String())
	return d.stdout.String()
}

func (m *made) fails(code int, message string, args ...string) {
	m.t.Helper()
	d := m.do(args...)
	require.Equal(m.t, code, d.run(), "%v: %s", args, d.stderr.String())
	require.Contains(m.t, strings.ReplaceAll(d.stderr.String(), `\"`, `"`), message, "%v", args)
}

func TestRun(t *testing.T) {
	m := newMade(t, "exit", "3")
	m.write()
	require.Equal(t, 3, m.do("run", "c").run())
	require.Empty(t, m.left())
	m.spec.Process.Args = []string{"probe", "ids"}
	m.spec.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5, 7}}
	m.write()
	require.Equal(t, "1 1000 1000 [5 7] /  /home/app\n", m.ok("run", "c"))
	m.spec.Linux.Namespaces = m.spec.Linux.Namespaces[1:] // the first process of a PID namespace takes no signal of its own
	m.spec.Process.Args = []string{"probe", "kill", "15"}
	m.write()
	require.Equal(t, 128+15, m.do("run", "c").run())
	require.Empty(t, m.left())
	// What the text seems to say of namespaces does not decide.
	m.spec.Annotations = map[string]string{"type": "network"}
	m.spec.Linux.Namespaces, m.spec.Hostname = []specs.LinuxNamespace{{Type: specs.MountNamespace}}, ""
	m.spec.Process.Args = []string{"probe", "exit", "5"}
	m.write()
	m.fails(5, "", "run", "c")
	require.Empty(t, m.left())
}

func TestRunKeep(t *testing.T) {
	m := newMade(t, "exit", "4")
	m.write()
	require.Equal(t, 4, m.do("run", "--keep", "c").run())
	require.Contains(t, m.ok("state", "c"), `"stopped"`)
	m.fails(1, errStopped.Error(), "start", "c")
	m.ok("delete", "c")
	require.Empty(t, m.left())
}

func TestRunForwardsSignals(t *testing.T) {
	m := newMade(t, "sleep")
	m.write()
	d := m.do("run", "c")
	require.NoError(t, d.Start())
	require.Eventually(t, func() bool {
		return strings.Contains(func() string { s := m.do("state", "c"); s.run(); return s.stdout.String() }(), `"running"`)
	}, time.Minute, 20*time.Millisecond)
	ended := make(chan struct{})
	go func() {
		_ = d.Wait()
		close(ended)
	}()
	for running := true; running; { // again, until Go's runtime in the container has its handlers
		_ = d.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	require.NotZero(t, d.ProcessState.ExitCode()) // Go's runtime ends by SIGTERM, as the first process by exit status 2
	require.Empty(t, m.left())
}

// TestRunForwardsAnySignal from the moment on at which the container can be seen to run.
func TestRunForwardsAnySignal(t *testing.T) {
	m := newMade(t, "signals")
	m.write()
	for _, verb := range []string{"run", "exec"} {
		args := []string{"run", "c"}
		if verb == "exec" {
			m.spec.Process.Args[1] = "sleep"
			m.write()
			m.ok("run", "--detach", "c")
			args = []string{"exec", "c", "probe", "signals"}
		}
		for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGSEGV, syscall.SIGSYS, 37} { // 37 is SIGRTMIN+3, by which systemd is stopped
			d := m.do(args...)
			d.Stdout = nil
			out, err := d.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, d.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "ready\n", line)
			require.NoError(t, d.Process.Signal(s))
			_ = d.Wait()
			require.Equal(t, int(s), d.ProcessState.ExitCode(), "%s: %s", verb, d.stderr.String())
		}
	}
}

func TestCreateStart(t *testing.T) {
	m := newMade(t, "sleep")
	m.write()
	pidFile := filepath.Join(t.TempDir(), "pid")
	m.ok("create", "--pid-file", pidFile, "c")
	pid, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	n, err := strconv.Atoi(string(pid))
	require.NoError(t, err)
	require.Contains(t, m.ok("state", "c"), fmt.Sprintf(`"pid": %d`, n))
	require.Contains(t, m.ok("state", "c"), `"created"`)
	m.fails(1, "container with given ID already exists", "create", "c")
	require.Equal(t, "2 0 0 [] /  /root\n", m.ok("exec", "c", "probe", "ids"), "a container that is not started has its namespaces")
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n))
	require.NoError(t, err)
	require.NotContains(t, exe, "probe")
	m.ok("start", "c")
	m.fails(1, errRunning.Error(), "start", "c")
	require.Contains(t, m.ok("state", "c"), `"running"`)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n))
	require.NoError(t, err)
	require.Equal(t, "probe\x00sleep\x00", string(cmdline))
	m.ok("delete", "--force", "c")
	m.fails(1, "container does not exist", "start", "c")
}

// TestStartDead starts a container whose process was killed before.
func TestStartDead(t *testing.T) {
	m := newMade(t, "sleep")
	m.write()
	m.ok("create", "c")
	m.ok("kill", "c", "KILL")
	require.Eventually(t, func() bool { return strings.Contains(m.ok("state", "c"), `"stopped"`) }, time.Minute, 10*time.Millisecond)
	m.fails(1, errStopped.Error(), "start", "c")
	m.ok("delete", "c")
	require.Empty(t, m.left())
	m.ok("create", "c")
	m.ok("delete", "c") // what was not started is ended by it
	require.Empty(t, m.left())
}

// TestCreateFails: whatever is wrong is said by create, names the field, and leaves nothing.
func TestCreateFails(t *testing.T) {
	m := newMade(t, "sleep")
	whole, err := json.Marshal(m.spec)
	require.NoError(t, err)
	seconds := 1
	for _, c := range []struct {
		message string
		change  func(*specs.Spec)
	}{
		{`root.path: lstat /nowhere: no such file or directory`, func(s *specs.Spec) { s.Root.Path = "/nowhere" }},
		{`exec: "nothing": executable file not found in $PATH`, func(s *specs.Spec) { s.Process.Args = []string{"nothing"} }},
		{`exec: "/nothing": stat /nothing: no such file or directory`, func(s *specs.Spec) { s.Process.Args = []string{"/nothing"} }},
		{`exec: "/etc/passwd": permission denied`, func(s *specs.Spec) { s.Process.Args = []string{"/etc/passwd"} }},
		{`chdir to cwd ("/nowhere") set in config.json failed: no such file or directory`, func(s *specs.Spec) { s.Process.Cwd = "/nowhere" }},
		{`linux.uidMappings: mappings 0`, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 10}, {ContainerID: 5, HostID: 200000, Size: 10}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		}},
		{`linux.uidMappings: there is no new namespace of the type user`, func(s *specs.Spec) {
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}}
		}},
		{`linux.namespaces[6].path: /proc/self/ns/net is not a namespace of the type time`, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/proc/self/ns/net"})
		}},
		{`linux.resources.memory.limit: `, func(s *specs.Spec) {
			limit := int64(1)
			s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
		}},
		{`mounts[4].source: stat /nowhere`, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/nowhere", Type: "bind"})
		}},
		{`mounts[4]: start container: fsopen nofs: mount 4 at /x: no such device`, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "x", Type: "nofs"})
		}},
		{`mounts[4]: start container: fsconfig tmpfs: mount 4 at /x: invalid argument`, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "x", Type: "tmpfs", Options: []string{"ro", "size=nothing"}})
		}},
		{`mounts[4]: start container: openat2 /etc/passwd/x: mount 4 at /etc/passwd/x: not a directory`, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/passwd/x", Source: "/", Options: []string{"bind"}})
		}},
		{`linux.devices: start container: openat2 /etc/passwd: mount `, func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/etc/passwd/x", Type: "c", Major: 1, Minor: 3}}
		}},
		{`linux.sysctl.kernel.core_pattern: it is not in a separate kernel namespace`, func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"kernel.core_pattern": "|/x"}
		}},
		{`process.rlimits[0].type: there is no limit "RLIMIT_X"`, func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}} }},
		{`linux.seccomp.defaultAction: `, func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "X"} }},
		{`hooks.createRuntime[0].path: "x" is not an absolute path`, func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "x"}}} }},
		{`hooks.prestart[0]: error running hook /bin/false: exit status 1`, func(s *specs.Spec) {
			//lint:ignore SA1019 callers still use it
			s.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: "/bin/false"}}}
		}},
		{`hooks.createRuntime[1]: error running hook /bin/sh: exit status 7, output: oh`, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}, {Path: "/bin/sh", Args: []string{"sh", "-c", "echo oh; exit 7"}}}}
		}},
		{`hooks.createRuntime[0]: error running hook /bin/sleep: it did not end within 1 s`, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &seconds}}}
		}},
		{`hooks.createContainer[0]: error running hook /bin/sleep: it did not end within 1 s`, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &seconds}}}
		}},
		{`hooks.createContainer[0]: error running hook /bin/sh: exit status 7, output: oh`, func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo oh; exit 7"}}}}
		}},
	} {
		m.spec = &specs.Spec{}
		require.NoError(t, json.Unmarshal(whole, m.spec))
		c.change(m.spec)
		m.write()
		m.fails(1, c.message, "create", "c")
		require.Empty(t, m.left(), c.message)
	}
	require.NoError(t, json.Unmarshal(whole, m.spec))
}

// TestHooks runs hooks of all kinds, each in its place and order, with the state on standard input.
func TestHooks(t *testing.T) {
	m := newMade(t, "sleep")
	log := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(log, nil, 0o666))
	m.spec.Mounts = append(m.spec.Mounts, specs.Mount{Destination: "/log", Source: log, Type: "bind", Options: []string{"bind"}})
	outside := func(kind string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", `echo "$K $(readlink /proc/self/ns/uts) $(cat)" >>` + log}, Env: []string{"PATH=/bin:/usr/bin", "K=" + kind}}}
	}
	m.spec.Hooks = &specs.Hooks{
		//lint:ignore SA1019 callers still use it
		Prestart: outside("prestart"), CreateRuntime: outside("createRuntime"), CreateContainer: outside("createContainer"),
		StartContainer: []specs.Hook{{Path: "/bin/probe", Args: []string{"probe", "append", "/log", "startContainer"}}},
		Poststart:      outside("poststart"), Poststop: outside("poststop"),
	}
	m.spec.Annotations = map[string]string{"k": "v"}
	m.write()
	m.ok("create", "c")
	m.ok("start", "c")
	m.ok("delete", "--force", "c")
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	require.Len(t, lines, 6)
	host, err := os.Readlink("/proc/self/ns/uts")
	require.NoError(t, err)
	for i, want := range []string{
		"prestart creating", "createRuntime creating", "createContainer creating", "startContainer created", "poststart running",
		"poststop stopped",
	} {
		f := strings.SplitN(lines[i]+" ", " ", 3)
		if f[0] == "startContainer" {
			f = []string{f[0], "", strings.TrimPrefix(lines[i], f[0]+" ")}
		}
		var s specs.State
		require.NoError(t, json.Unmarshal([]byte(f[2]), &s), lines[i])
		require.Equal(t, want, f[0]+" "+string(s.Status))
		require.Equal(t, "c", s.ID)
		require.Equal(t, m.dir, s.Bundle)
		require.Equal(t, map[string]string{"k": "v"}, s.Annotations)
		inside := f[0] == "createContainer" || f[0] == "startContainer"
		require.Equal(t, inside, s.Pid == 1, lines[i])
		require.Equal(t, inside, f[1] != host, lines[i])
		require.Equal(t, f[0] == "poststop", s.Pid == 0, lines[i])
	}
}

// TestHookSeesTheRoot: a createRuntime hook finds the container's root at its own path, in its mount namespace, and can
// mount there; a createContainer hook is there.
func TestHookSeesTheRoot(t *testing.T) {
	m := newMade(t, "cat", "/mnt/a", "/mnt/b")
	testenv.RequireCommand(t, "nsenter", "jq")
	rootfs := m.spec.Root.Path
	require.NoError(t, os.Mkdir(filepath.Join(rootfs, "mnt"), 0o755))
	m.spec.Hooks = &specs.Hooks{
		CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-ec", `
			pid=$(jq .pid)
			nsenter -t $pid -m mount -t tmpfs hook ` + rootfs + `/mnt
			nsenter -t $pid -m sh -c "echo A >` + rootfs + `/mnt/a"`}, Env: []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}}},
		CreateContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-ec", "echo B >" + rootfs + "/mnt/b"}}},
	}
	m.write()
	require.Equal(t, "A\nB\n", m.ok("run", "c"))
	left, err := os.ReadDir(filepath.Join(rootfs, "mnt"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestHookFailsAtStart: what fails after create ends the container.
func TestHookFailsAtStart(t *testing.T) {
	m := newMade(t, "sleep")
	for kind, hooks := range map[string]*specs.Hooks{
		"startContainer": {StartContainer: []specs.Hook{{Path: "/bin/probe", Args: []string{"probe", "exit", "9"}}}},
		"poststart":      {Poststart: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 9"}}}},
	} {
		m.spec.Hooks = hooks
		m.write()
		m.ok("create", "c")
		m.fails(1, "hooks."+kind+"[0]", "start", "c")
		require.Eventually(t, func() bool { return strings.Contains(m.ok("state", "c"), `"stopped"`) }, time.Minute, 10*time.Millisecond)
		m.ok("delete", "c")
		m.fails(1, "hooks."+kind+"[0]", "run", "c")
		require.Empty(t, m.left())
	}
}

func TestExec(t *testing.T) {
	m := newMade(t, "sleep")
	m.write()
	m.ok("run", "--detach", "c")
	require.Equal(t, "0 0 [] /tmp x /root\n", afterPID(m.ok("exec", "--cwd", "/tmp", "--env", "A=x", "c", "probe", "ids")))
	require.Equal(t, "1000 7 [8 9] / y /\n", afterPID(m.ok("exec", "-u", "1000:7", "-g", "8", "-g", "9", "-e", "A=y", "-e", "HOME=/", "c", "probe", "ids")))
	require.Equal(t, 5, m.do("exec", "c", "probe", "exit", "5").run())
	require.Equal(t, 128+9, m.do("exec", "c", "probe", "kill", "9").run())
	m.fails(255, `exec failed: unable to start container process: exec: "nothing": executable file not found in $PATH`, "exec", "c", "nothing")
	m.fails(255, `exec: "/etc": permission denied`, "exec", "c", "/etc")
	m.fails(255, `chdir to cwd ("/x")`, "exec", "--cwd", "/x", "c", "probe")
	m.fails(1, "process args cannot be empty", "exec", "c")
	m.fails(255, "container does not exist", "exec", "nobody", "probe")

	process := filepath.Join(t.TempDir(), "process.json")
	b, err := json.Marshal(specs.Process{Args: []string{"probe", "ids"}, Cwd: "/proc", Env: []string{"PATH=/bin"}, User: specs.User{UID: 3, GID: 4}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(process, b, 0o644))
	require.Equal(t, "3 4 [] /proc  /\n", afterPID(m.ok("exec", "--process", process, "c")))
	require.NoError(t, os.WriteFile(process, b[1:], 0o644))
	m.fails(255, process+": ", "exec", "--process", process, "c")

	caps := m.ok("exec", "--cap", "CAP_NET_RAW", "c", "probe", "cat", "/proc/self/status")
	require.Contains(t, caps, "CapBnd:\t0000000000002021\n")
	require.Contains(t, m.ok("exec", "c", "probe", "cat", "/proc/self/status"), "CapBnd:\t0000000000000021\n")

	pidFile := filepath.Join(t.TempDir(), "pid")
	m.ok("exec", "--detach", "--pid-file", pidFile, "c", "probe", "sleep")
	pid, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	group, err := os.ReadFile(fmt.Sprintf("/proc/%s/cgroup", pid))
	require.NoError(t, err)
	require.Contains(t, string(group), m.spec.Linux.CgroupsPath)
	d := m.do("delete", "--force", "c")
	require.NoError(t, d.Start())
	m.reap(pidFile)
	require.NoError(t, d.Wait())
	require.Empty(t, m.left())
}

// reap waits for a process that exec has left to this one, as whoever calls runtimes does: the first process of a PID namespace
// ends after all others were reaped.
func (m *made) reap(pidFile string) {
	b, err := os.ReadFile(pidFile)
	require.NoError(m.t, err)
	pid, err := strconv.Atoi(string(b))
	require.NoError(m.t, err)
	for {
		if _, err = syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			break
		}
	}
	require.NoError(m.t, err)
}

func afterPID(s string) string {
	_, rest, _ := strings.Cut(s, " ")
	return rest
}

func TestPreservedDescriptors(t *testing.T) {
	m := newMade(t, "cat", "/proc/self/fd/3", "/proc/self/fd/4")
	m.write()
	run := func(env []string, args ...string) *doing {
		d := m.do(args...)
		for _, text := range []string{"one\n", "two\n"} {
			name := filepath.Join(t.TempDir(), "f")
			require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
			f, err := os.Open(name)
			require.NoError(t, err)
			defer f.Close()
			d.ExtraFiles = append(d.ExtraFiles, f)
		}
		d.Env = append(os.Environ(), env...)
		d.run()
		return d
	}
	require.Equal(t, "one\ntwo\n", run(nil, "run", "--preserve-fds", "2", "c").stdout.String())
	require.Equal(t, "one\ntwo\n", run([]string{"LISTEN_FDS=1"}, "run", "--preserve-fds", "1", "c").stdout.String())
	require.NotEqual(t, "one\ntwo\n", run(nil, "run", "--preserve-fds", "1", "c").stdout.String())
	m.fails(1, "unable to stat preserved-fd 3", "run", "--preserve-fds", "5", "c")
	m.spec.Process.Args = []string{"probe", "cat", "/proc/self/environ"}
	m.write()
	require.Contains(t, run([]string{"LISTEN_FDS=2"}, "run", "c").stdout.String(), "LISTEN_FDS=2\x00LISTEN_PID=1\x00")
}
