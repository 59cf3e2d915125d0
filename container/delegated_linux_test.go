package container_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["delegated"] = delegated }

// delegated is an ordinary user's program that has control groups: args[1] is a root file system, args[2] where its groups go.
func delegated(args []string) int {
	ctx := context.Background()
	in := func(name string, command ...string) *container.Container {
		c := container.New(namespace.Dir(args[1]), command...)
		c.Cgroup = args[2] + "/" + name
		return c
	}
	say := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }

	c := in("limited", "sleep", "1m")
	c.Memory, c.PidsLimit, c.CPUs = 64<<20, 20, 0.5
	say("start", c.Start(ctx))
	group := c.CgroupPaths()[0]
	for _, file := range []string{"memory.max", "pids.max", "cpu.max"} {
		b, err := os.ReadFile(filepath.Join(group, file))
		fmt.Printf("%s %s %v\n", file, strings.TrimSpace(string(b)), err)
	}
	s, err := c.Stats()
	say("stats", err)
	if err == nil {
		fmt.Println("stats", s.Memory.Limit, s.Memory.Current > 0, s.Pids.Limit, s.Pids.Current > 0, s.MemoryPressure != nil)
	}
	say("update", c.Update(&cgroups.Resources{Pids: 30}))
	say("pause", c.Pause(ctx))
	fmt.Println("paused", c.Paused())
	say("resume", c.Resume())
	out, err := c.Command("who").Output(ctx)
	fmt.Println(strings.Split(string(out), "\n")[0], exitText(err))
	say("kill", c.Kill())
	say("wait", c.Wait(ctx))
	_, err = os.Stat(group)
	fmt.Println("gone", errors.Is(err, fs.ErrNotExist))

	c = in("hog", "hog", "64")
	c.Memory, c.MemorySwap = 32<<20, 32<<20
	var exit *container.ExitError
	err = c.Run(ctx)
	fmt.Println("hog", errors.As(err, &exit) && exit.State.OOMKilled, exitText(err))

	c = in("busy", "hog", "1")
	c.Cgroup, c.Memory = "", 64<<20 // below the program's own group, which has a process: itself
	say("below", c.Run(ctx))
	return 0
}

// TestDelegatedGroups: an ordinary user to whom a control group is delegated has limits, statistics, pauses and kills of whole groups, as
// root has.
func TestDelegatedGroups(t *testing.T) {
	const uid = 64124 // nobody here, who has no subordinate ids
	program, parent := testenv.DelegateCgroup(t, uid)
	root := testenv.NewRootfs(t, "delegated", "who", "sleep", "hog")
	testenv.ReapOrphans(t)
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin/delegated"), root, parent)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uid, Gid: uid}, UseCgroupFD: true, CgroupFD: int(program.Fd()),
	}
	b, err := cmd.CombinedOutput()
	out := string(b)
	require.NoError(t, err, out)
	require.Contains(t, out, `start: <nil>
memory.max 67108864 <nil>
pids.max 20 <nil>
cpu.max 50000 100000 <nil>
stats: <nil>
stats 67108864 true 20 true true
update: <nil>
pause: <nil>
paused true
resume: <nil>
who 0 0 [] [0 64124 1]`)
	require.Contains(t, out, "kill: <nil>\nwait: signal: killed\ngone true\nhog true ")
	require.Regexp(t, "below: .*limit Memory 67108864.*Evacuate", out)
}
