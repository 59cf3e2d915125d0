package container_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// branch makes groups below its own in each hierarchy: two side by side, and one that goes deep, with a process at its
// end that is frozen where v1 freezes.
func branch([]string) int {
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "1h"}, &os.ProcAttr{Env: []string{}, Files: []*os.File{nil, nil, nil}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if len(roots) == 0 {
		roots = []string{"/sys/fs/cgroup/cgroup.procs"}
	}
	made := 0
	for _, procs := range roots {
		deep := filepath.Dir(procs) + "/deep"
		for _, dir := range []string{filepath.Dir(procs) + "/a", filepath.Dir(procs) + "/b", deep} {
			if err := os.Mkdir(dir, 0o755); err == nil {
				made++
			}
		}
		depth := 2
		if len(roots) == 1 || strings.HasSuffix(filepath.Dir(procs), "/freezer") {
			depth = 100 // deeper than the guardian has descriptors
		}
		for range depth {
			deep += "/x"
			if os.Mkdir(deep, 0o755) != nil {
				break
			}
			made++
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} { // v1's are empty at first
			inheritCpuset(filepath.Dir(procs), deep, name)
		}
		_ = os.WriteFile(deep+"/cgroup.procs", []byte(strconv.Itoa(p.Pid)), 0)
		_ = os.WriteFile(deep+"/freezer.state", []byte("FROZEN"), 0)
	}
	if made < 100 {
		fmt.Println("groups made:", made)
		return 1
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

func inheritCpuset(top, dir, name string) {
	value, err := os.ReadFile(top + "/" + name)
	if err != nil {
		return
	}
	if dir != top {
		inheritCpuset(top, filepath.Dir(dir), name)
		_ = os.WriteFile(dir+"/"+name, value, 0)
	}
}

// holder starts one container in the group, in the manner that args[3] says, and waits to be killed.
func holder(args []string) int {
	err := func() error {
		ctx := context.Background()
		c := container.New(namespace.Dir(args[1]), "daemon")
		c.Cgroup = args[2]
		if args[3] == "pool" {
			return (&container.Pool{Size: 1, New: func(context.Context) (*container.Container, error) { return c, nil }}).Fill(ctx)
		}
		switch args[3] {
		case "branch", "branch in the host's PID namespace":
			c.Args, c.Privileged = []string{"branch"}, true
			c.Namespaces.PID.Host = args[3] != "branch"
		}
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			return fmt.Errorf("%q, %w", line, err)
		}
		switch args[3] {
		case "paused":
			return c.Pause(ctx)
		case "frozen by v1":
			for _, dir := range c.CgroupPaths() {
				f, err := os.OpenFile(dir+"/freezer.state", os.O_WRONLY, 0)
				if err != nil {
					continue // another hierarchy
				}
				_, err = f.WriteString("FROZEN")
				if err := errors.Join(err, f.Close()); err != nil {
					return err
				}
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	for { // a select without cases would end the program when nothing else is under way
		time.Sleep(time.Hour)
	}
}

// A container whose owner is killed ends, held or not, and its groups go with those that it made itself.
func TestOwnerKilledHoldingGroups(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t)
	self, err := os.Executable()
	require.NoError(t, err)
	root := testenv.NewRootfs(t, "daemon", "sleep", "branch")
	for _, how := range []string{"pool", "paused", "frozen by v1", "branch", "branch in the host's PID namespace"} {
		t.Run(how, func(t *testing.T) {
			group := testenv.CgroupName(t)
			cmd := exec.Command(self)
			cmd.Args = []string{"holder", root, group, how}
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			cmd.Stderr = os.Stderr
			require.NoError(t, cmd.Start())
			line, _ := bufio.NewReader(out).ReadString('\n')
			require.Equal(t, "ready\n", line)
			if how != "pool" {
				require.Len(t, rooted(t, root), 2)
			}
			require.NotEmpty(t, groupFolders([]string{group}))
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
			require.Eventually(t, func() bool { return len(rooted(t, root)) == 0 }, time.Minute, 5*time.Millisecond)
			require.Eventually(t, func() bool { return len(groupFolders([]string{group})) == 0 }, time.Minute, 10*time.Millisecond,
				"groups are left: %v", groupFolders([]string{group}))
		})
	}
}
