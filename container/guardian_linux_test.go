package container_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// daemon clears what would kill it with its parent, starts a daemon in a session of its own, says "ready" and goes on.
// Told "leave", its child stays alone.
func daemon(args []string) int {
	const prSetPdeathsig = 1
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetPdeathsig, 0, 0)
	_, err := os.StartProcess("/bin/sleep", []string{"sleep", "1h"},
		&os.ProcAttr{Env: []string{}, Files: []*os.File{nil, nil, nil}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

// owner starts containers, in the groups that the arguments from 2 on name, says "ready" when all run, and waits to be
// killed. args[1] is their root. The first ones are in the host's PID namespace.
func owner(args []string) int {
	for i, group := range args[2:] {
		c := container.New(namespace.Dir(args[1]), "daemon")
		c.Cgroup = group
		c.Namespaces.PID.Host = i < 3
		c.NoCgroup = group == "none"
		if c.NoCgroup {
			c.Cgroup = ""
		}
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start(context.Background())
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if line != "ready\n" {
			fmt.Println(line, err)
			return 1
		}
	}
	fmt.Println("ready")
	for { // a select without cases would end the program when nothing else is under way
		time.Sleep(time.Hour)
	}
}

// Everything ends each time; in how short a time depends on what else the machine does, so the best of some tries
// counts.
func TestOwnerKilled(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	limit := 100 * time.Millisecond
	if testenv.VM() { // an emulated processor
		limit *= 30
	}
	best := time.Hour
	for try := 0; try < 5 && best >= limit; try++ {
		best = min(best, killOwner(t))
	}
	require.Less(t, best, limit)
}

// killOwner kills an owner of ten containers and returns how long their processes lived on.
func killOwner(t *testing.T) time.Duration {
	t.Helper()
	root := testenv.NewRootfs(t, "daemon", "sleep")
	var groups []string
	for range 9 {
		groups = append(groups, testenv.CgroupName(t))
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Args = append(append([]string{"owner", root}, groups...), "none")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	require.Equal(t, "ready\n", line)

	before := rooted(t, root)
	require.Len(t, before, 20, "ten containers of two processes")
	require.NotEmpty(t, groupFolders(groups))
	died := time.Now()
	require.NoError(t, cmd.Process.Kill())
	for slices.ContainsFunc(before, runs) && time.Since(died) < 5*time.Second {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(died)
	_ = cmd.Wait()
	require.Empty(t, rooted(t, root))
	require.Eventually(t, func() bool { return len(groupFolders(groups)) == 0 }, time.Minute, 10*time.Millisecond,
		"groups are left: %v", groupFolders(groups))
	t.Logf("no process ran after %v, no group was left after %v", took, time.Since(died))
	return took
}

// rooted returns the processes that are alive and execute a program of root.
func rooted(t *testing.T, root string) []string {
	t.Helper()
	want, err := os.Stat(filepath.Join(root, "bin/sleep"))
	require.NoError(t, err)
	own, err := os.Readlink("/proc/self/ns/mnt")
	require.NoError(t, err)
	var all []string
	names, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, p := range names {
		exe, err := os.Stat(p + "/exe")
		if err != nil || !os.SameFile(exe, want) {
			continue // of another program, or a zombie
		}
		ns, _ := os.Readlink(p + "/ns/mnt")
		target, _ := os.Readlink(p + "/root")
		if ns != own && target != "" {
			all = append(all, p)
		}
	}
	return all
}

// runs says whether the process of the folder below /proc is there and no zombie.
func runs(proc string) bool {
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return false
	}
	state := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[0]
	return state != "Z" && state != "X"
}

func groupFolders(groups []string) []string {
	var all []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		for _, g := range groups {
			if strings.HasSuffix(path, "/"+g) {
				all = append(all, path)
			}
		}
		return nil
	})
	return all
}

func TestGuardianStandsAlone(t *testing.T) {
	testenv.RequireRoot(t)
	c := newContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	defer func() { _ = c.Wait(context.Background()) }()
	defer func() { _ = c.Kill() }()
	dir, err := guardian()
	require.NoError(t, err)
	require.NotEqual(t, fmt.Sprint(os.Getpid()), parent(dir), "it is nobody's to wait for")
	cwd, err := os.Readlink(dir + "/cwd")
	require.NoError(t, err)
	require.Equal(t, "/", cwd)
	// Socket, table and a pidfd, which it takes from the socket in its own time.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.ElementsMatch(c, []string{"socket", "/memfd", "anon_inode"}, descriptorsOf(dir))
	}, time.Minute, time.Millisecond)
	stat, err := os.ReadFile(dir + "/stat")
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	require.Equal(t, filepath.Base(dir), fields[3], "a session of its own")
}

func parent(proc string) string {
	stat, err := os.ReadFile(proc + "/stat")
	if err != nil {
		return ""
	}
	return strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[1]
}

// regard starts a container below args[1], kills the guardian and starts another one: a new guardian has both then.
func regard(args []string) int {
	err := func() error {
		ctx := context.Background()
		c := container.New(namespace.Dir(args[1]), "sleep", "1m")
		c.Cgroup = args[2]
		if err := c.Start(ctx); err != nil {
			return err
		}
		defer func() { _ = c.Wait(ctx) }()
		defer func() { _ = c.Kill() }()
		old, err := guardian()
		if err != nil {
			return err
		}
		pid, _ := strconv.Atoi(filepath.Base(old))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		for runs(old) {
			time.Sleep(time.Millisecond)
		}
		d := container.New(namespace.Dir(args[1]), "echo", "hello")
		d.Cgroup = args[3]
		if err := d.Run(ctx); err != nil {
			return err
		}
		dir, err := guardian()
		if err != nil {
			return err
		}
		for range 5000 {
			if slices.Contains(descriptorsOf(dir), "anon_inode") {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		return fmt.Errorf("the new guardian was not given the first container's process: %v", descriptorsOf(dir))
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestGuardianKilled(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Args = []string{"regard", testenv.NewRootfs(t, "sleep", "echo"), testenv.CgroupName(t), testenv.CgroupName(t)}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// guardian returns the folder below /proc of this process's guardian: the one that has the same table open.
func guardian() (string, error) {
	tables, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return "", err
	}
	var table os.FileInfo
	for _, fd := range tables {
		if target, _ := os.Readlink(fd); strings.HasPrefix(target, "/memfd:wards") {
			if table, err = os.Stat(fd); err != nil {
				return "", err
			}
		}
	}
	if table == nil {
		return "", errors.New("there is no table of wards")
	}
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		other, err := os.Stat(filepath.Dir(name) + "/fd/1")
		if string(comm) == "caisson-guard\n" && err == nil && os.SameFile(table, other) {
			return filepath.Dir(name), nil
		}
	}
	return "", errors.New("there is no guardian")
}

func descriptorsOf(proc string) (held []string) {
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		target, _ := os.Readlink(proc + "/fd/" + fd.Name())
		name, _, _ := strings.Cut(target, ":")
		held = append(held, name)
	}
	return held
}
