package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/caisson-engine/caisson/network"
)

// networker is a helper program: it connects a container that runs to networks of its making, disconnects it, and starts others on
// them, until it is killed.
func networker(args []string) int {
	ctx := context.Background()
	err := func() error {
		e, err := Open(ctx, args[1], &Options{NetworkNamespace: args[2]})
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			name := fmt.Sprint("net", i%2)
			if _, err := e.CreateNetwork(ctx, name, &network.CreateOptions{Internal: i%2 == 1}); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			err := e.Connect(ctx, args[4], &Connection{Network: name})
			if err != nil && !errors.Is(err, fs.ErrExist) { // one who was killed had connected it
				return err
			}
			cfg := &Config{Image: args[3], Network: name, Command: []string{"true"}, AutoRemove: true}
			if i%2 == 0 {
				cfg.Ports = []network.Port{{Container: 80}}
			}
			if _, err := e.Run(ctx, cfg, nil); err != nil {
				return err
			}
			if err := e.Disconnect(ctx, args[4], name); err != nil {
				return err
			}
			if err := e.RemoveNetwork(ctx, name); err != nil {
				return err
			}
		}
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestNetworksKilled: a program is killed at any time while it starts, connects and disconnects containers; who opens the folder next
// finds the networks whole, the container that runs goes on, and when it is removed nothing is left on the host.
func TestNetworksKilled(t *testing.T) {
	e := newEngine(t)
	image := pullBusybox(t, e)
	ns := e.options.NetworkNamespace
	c := detached(t, e, &Config{Image: image, Network: "bridge"}, "exec sleep 1000")
	kills := 8
	if testing.Short() {
		kills = 4
	}
	for range kills {
		cmd := exec.Command("/proc/self/exe", e.Root(), ns, image, c.ID)
		cmd.Args[0] = "networker"
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		time.Sleep(20*time.Millisecond + time.Duration(rand.Int64N(int64(300*time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it ended before it was killed")
		next, err := Open(t.Context(), e.Root(), &Options{NetworkNamespace: ns})
		require.NoError(t, err)
		require.Eventually(t, func() bool { // the kernel deletes what was in a namespace some time after its last process's end
			if err = next.Networks().Repair(t.Context()); err == nil {
				err = next.Networks().Check(t.Context())
			}
			for _, n := range []string{"net0", "net1"} { // of no other container, whatever was attached
				all, _ := next.Networks().Endpoints(n)
				for _, end := range all {
					if end.Sandbox != c.ID {
						err = errors.Join(err, fmt.Errorf("endpoint of %s", end.Sandbox))
					}
				}
			}
			return err == nil
		}, time.Minute, 10*time.Millisecond, "%v", &err)
		require.Equal(t, Running, mustInspect(t, next, c).State.Status)
		require.NoError(t, next.Close())
	}
	list, err := e.List(t.Context())
	require.NoError(t, err)
	for _, o := range list {
		require.NoError(t, e.Remove(t.Context(), o.ID, &RemoveOptions{Force: true}))
	}
	require.Eventually(t, func() bool {
		if err = e.Networks().Repair(t.Context()); err == nil {
			err = e.Networks().Check(t.Context())
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond, "%v", &err)
	_, err = e.PruneNetworks(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, onHost(e, func() error {
		links, err := netlink.LinkList()
		require.NoError(t, err)
		var names []string
		for _, l := range links {
			names = append(names, l.Attrs().Name)
		}
		require.Equal(t, []string{"lo"}, names)
		return nil
	}))
}

// TestNetworksReleased: who notices that a container has ended that nobody served takes its networks back at once.
func TestNetworksReleased(t *testing.T) {
	e := newEngine(t)
	require.NoError(t, onHost(e, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) }))
	taken := []network.Port{{Host: 8080, Container: 80}}
	c := detached(t, e, &Config{Ports: taken}, "cat /nosuch; exec sleep 600")
	require.False(t, c.State.Supervised)
	all, err := e.Networks().Endpoints(defaultNetwork)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, e.Kill(t.Context(), c.ID, syscall.SIGKILL))
	_, err = e.WaitFor(t.Context(), c.ID)
	require.NoError(t, err)
	all, err = e.Networks().Endpoints(defaultNetwork)
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, e.Networks().Check(t.Context()))
	require.NoError(t, onHost(e, func() error {
		links, err := netlink.LinkList()
		require.NoError(t, err)
		require.Len(t, links, 1, "loopback")
		return nil
	}))
	reserved, err := e.Networks().Reserve(taken)
	require.NoError(t, err)
	reserved.Close()
}
