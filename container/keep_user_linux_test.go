package container_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() {
	// What all keepers execute is kept.
	testenv.Lazy("keeper's program", func() error {
		dir, err := os.MkdirTemp("", "warm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		root, keep := filepath.Join(dir, "root"), filepath.Join(dir, "keep")
		if err := errors.Join(os.Mkdir(root, 0o700), os.Mkdir(keep, 0o700)); err != nil {
			return err
		}
		c := container.New(namespace.Dir(root), "/nothing")
		c.Keep, c.NoCgroup = &container.Keep{Dir: keep}, true
		_ = c.Start(context.Background())
		return nil
	})
}

// TestKeepInUserNamespace keeps a container in a user namespace, with limits, finds it again and executes in it.
func TestKeepInUserNamespace(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	c := newUserContainer(t, "sleep", "1m")
	testenv.ReapOrphans(t)
	c.Keep, c.Memory = &container.Keep{Dir: t.TempDir()}, 64<<20
	require.NoError(t, c.Start(t.Context()))
	found := container.New(c.Root, c.Args...)
	found.UIDMappings, found.GIDMappings, found.Keep, found.Cgroup = c.UIDMappings, c.GIDMappings, c.Keep, c.Cgroup
	require.NoError(t, found.Adopt(t.Context()))
	require.Equal(t, c.Pid(), found.Pid())
	p := found.Command("who")
	p.User = "app"
	out, err := p.Output(t.Context())
	require.NoError(t, err, exitText(err))
	require.Equal(t, "who 1000 1000 [1000 2000 3000] [0 100000 65536]\n/bin 0 0\n/dev/null 65534 65534\n/dev/pts 0 0\nstdout <nil>\n",
		string(out))
	_, err = found.Stats()
	require.NoError(t, err)
	require.NoError(t, found.Pause(t.Context()))
	require.NoError(t, found.Resume())
	found.WaitDelay = time.Second
	require.NoError(t, found.Kill())
	require.Error(t, found.Wait(t.Context()))
	require.Error(t, c.Wait(t.Context()))
}
