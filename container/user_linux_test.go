package container_test

import (
	"bytes"
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

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() {
	programs["who"], programs["ordinary"] = who, ordinary
	// The template for user namespaces is made once.
	testenv.Lazy("template for user namespaces", func() error {
		ns, err := namespace.NewUserNamespace(idMaps, idMaps)
		if err != nil {
			return err
		}
		defer ns.Close()
		dir, err := os.MkdirTemp("", "warm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c := container.New(namespace.Dir(dir), "/nothing")
		c.UIDMappings, c.GIDMappings, c.NoCgroup = idMaps, idMaps, true
		_ = c.Run(context.Background())
		return nil
	})
}

var idMaps = []container.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// who prints the ids, the map, who owns some files, and whether it can write to its output once more.
func who([]string) int {
	groups, _ := os.Getgroups()
	b, _ := os.ReadFile("/proc/self/uid_map")
	fmt.Println("who", os.Getuid(), os.Getgid(), groups, strings.Fields(string(b)))
	for _, name := range []string{"/bin", "/dev/null", "/dev/pts"} {
		var st syscall.Stat_t
		_ = syscall.Stat(name, &st)
		fmt.Println(name, st.Uid, st.Gid)
	}
	f, err := os.OpenFile("/dev/stdout", os.O_WRONLY, 0)
	fmt.Println("stdout", err)
	if err == nil {
		_ = f.Close()
	}
	return 0
}

// TestUserNamespace runs a container in a user namespace, whose files show as its own, and executes in it.
func TestUserNamespace(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	c := newUserContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	for user, want := range map[string]string{"": "who 0 0 [0 3000] [0 100000 65536]\n", "app": "who 1000 1000 [1000 2000 3000] [0 100000 65536]\n"} {
		p := c.Command("who")
		p.User = user
		out, err := p.Output(t.Context())
		require.NoError(t, err, exitText(err))
		require.Equal(t, want+"/bin 0 0\n/dev/null 65534 65534\n/dev/pts 0 0\nstdout <nil>\n", string(out))
	}
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(fmt.Sprintf("/proc/%d", c.Pid()), &st))
	require.Equal(t, uint32(100000), st.Uid, "outside it is somebody who owns nothing")
	require.NoError(t, c.Pause(t.Context()))
	require.NoError(t, c.Resume())
	require.NoError(t, c.Kill())
	require.Error(t, c.Wait(t.Context()))

	c = newUserContainer(t, "who")
	c.User, c.Memory = "app", 64<<20
	out, err := c.Output(t.Context())
	require.NoError(t, err, exitText(err))
	require.Contains(t, string(out), "who 1000 1000 [1000 2000 3000] [0 100000 65536]\n")
	require.Contains(t, string(out), "stdout <nil>\n")
}

// newUserContainer is newContainer in a user namespace, with a root that belongs to it.
func newUserContainer(t *testing.T, args ...string) *container.Container {
	testenv.RequireRoot(t)
	root := testenv.NewRootfs(t, "who", "sleep", "mkdir")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 100000, 100000))
	}))
	c := container.New(namespace.Dir(root), args...)
	c.UIDMappings, c.GIDMappings = idMaps, idMaps
	c.Cgroup = testenv.CgroupName(t)
	return c
}

func TestUserNamespaceFields(t *testing.T) {
	for want, change := range map[string]func(c *container.Container){
		`check UserNamespace: "x" is set, but so are UIDMappings`: func(c *container.Container) {
			c.UserNamespace, c.UIDMappings = "x", idMaps
		},
		`check UserNamespace: "x" is set, but Namespaces.User`: func(c *container.Container) {
			c.UserNamespace, c.Namespaces.User.Host = "x", true
		},
		`check UIDMappings: they are set, but Namespaces.User`: func(c *container.Container) {
			c.UIDMappings, c.Namespaces.User.Host = idMaps, true
		},
		`check PidsLimit: to start in a user namespace takes 2`: func(c *container.Container) {
			c.UIDMappings, c.PidsLimit = idMaps, 1
		},
		`check Namespaces.User: both Host and Join are set`: func(c *container.Container) {
			c.Namespaces.User = namespace.Namespace{Host: true, Join: os.Stdin}
		},
	} {
		c := container.New(namespace.Dir("/"), "true")
		change(c)
		require.ErrorContains(t, c.Check(), want)
	}
	c := container.New(namespace.Dir("/"), "true")
	c.UserNamespace = "nobody-has-this-name"
	_, err := c.Program()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "UserNamespace: /etc/subuid grants nothing to user nobody-has-this-name")
}

// TestOrdinaryUser starts containers from a program that an ordinary user runs.
func TestOrdinaryUser(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	root := testenv.NewRootfs(t, "who", "sleep", "ordinary")
	testenv.ReapOrphans(t)
	const uid = 64123 // nobody here, who has no subordinate ids
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin/ordinary"), root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "limit: start container: create control group")
	require.Contains(t, string(out), "Memory takes a control group that is delegated to user 64123")
	require.Equal(t, 2, strings.Count(string(out), "who 0 0 [] [0 64123 1]\n/bin 0 0\n/dev/null 65534 65534\n/dev/pts 0 0\nstdout <nil>\n"),
		string(out))
	require.Contains(t, string(out), "app: start container: check User.UID: the id 1000, the process's user, is not in the map")
}

// ordinary starts containers, with args[1] as their root.
func ordinary(args []string) int {
	ctx := context.Background()
	c := container.New(namespace.Dir(args[1]), "who")
	out, err := c.CombinedOutput(ctx)
	fmt.Printf("%s%v\n", out, exitText(err))

	c = container.New(namespace.Dir(args[1]), "sleep", "1m")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(ctx); err != nil {
		fmt.Println("start:", err)
		return 1
	}
	out, err = c.Command("who").CombinedOutput(ctx)
	fmt.Printf("%s%v\n", out, exitText(err))
	_ = c.Kill()
	_ = c.Wait(ctx)

	c = container.New(namespace.Dir(args[1]), "who")
	c.Memory = 64 << 20
	fmt.Println("limit:", c.Run(ctx))
	c = container.New(namespace.Dir(args[1]), "who")
	c.User = "app"
	fmt.Println("app:", c.Run(ctx))
	return 0
}

func exitText(err error) string {
	var exit *container.ExitError
	if errors.As(err, &exit) {
		return err.Error() + string(bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// The pipes of a process in a user namespace that it joins belong to its user there, whether the namespace is given by a
// process or by itself.
func TestJoinedUserNamespacePipes(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	c := newUserContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	itself, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", c.Pid()))
	require.NoError(t, err)
	defer itself.Close()
	for _, join := range []namespace.Namespace{c.Namespace(), {Join: itself}} {
		for user, want := range map[string]string{"": "who 0 0 ", "app": "who 1000 1000 "} {
			d := container.New(c.Root, "who")
			d.User, d.Cgroup = user, c.Cgroup+"-joined"
			d.Namespaces.User = join
			out, err := d.Output(t.Context())
			require.NoError(t, err, exitText(err))
			require.Contains(t, string(out), want)
			require.Contains(t, string(out), "stdout <nil>\n")
		}
		uids, gids, err := namespace.JoinedMappings(join.Join)
		require.NoError(t, err)
		require.Equal(t, idMaps, uids)
		require.Equal(t, idMaps, gids)
	}
	require.NoError(t, c.Kill())
	require.Error(t, c.Wait(t.Context()))
	uids, gids, err := namespace.JoinedMappings(itself) // no process is in it now
	require.NoError(t, err)
	require.Equal(t, idMaps, uids)
	require.Equal(t, idMaps, gids)
}
