package network

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// churn is a helper program: it creates, attaches, to leaves too, publishes, detaches, removes and prunes until it is killed.
func churn(args []string) int {
	ctx := context.Background()
	pid, _ := strconv.Atoi(args[3])
	for i := 0; ; i++ {
		err := func() error {
			s, err := Open(args[1], &Options{Namespace: args[2], Table: "caisson"})
			if err != nil {
				return err
			}
			defer s.Close()
			s.perBridge = 1
			name := fmt.Sprint("n", i%3)
			if _, err := s.Create(ctx, name, nil); err != nil {
				return err
			}
			b, err := s.Sandbox(pid, &SandboxOptions{ID: "box"})
			if err != nil {
				return err
			}
			second, err := s.Sandbox(pid, &SandboxOptions{ID: "second", NoResolver: true})
			if err != nil {
				return err
			}
			ports := []Port{{Host: 8080, Container: 80}}
			for _, o := range []*EndpointOptions{{Ports: ports}, {}} {
				if _, err := b.Attach(ctx, name, o); err != nil {
					return err
				}
				if len(o.Ports) == 0 {
					if _, err := b.Publish(ctx, name, ports); err != nil {
						return err
					}
				}
				if e, err := second.Attach(ctx, name, nil); err != nil || e.Leaf != 1 {
					return fmt.Errorf("leaf %d: %w", e.Leaf, err)
				}
				if err := b.Detach(ctx, name); err != nil {
					return err
				}
				if err := second.Detach(ctx, name); err != nil {
					return err
				}
			}
			if err := errors.Join(b.Close(), second.Close()); err != nil {
				return err
			}
			if i%2 == 0 {
				return s.Remove(ctx, name)
			}
			removed, err := s.Prune(ctx, nil)
			if err == nil && len(removed) != 1 {
				err = fmt.Errorf("%d networks pruned", len(removed))
			}
			return err
		}()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// TestKilled: a process that changes networks is killed at any time, with its container; the next Open leaves no interface,
// no table, no address and no document of it.
func TestKilled(t *testing.T) {
	host := newMachine(t)
	filterBridged(t, host, "0")
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		_, pid, end := startBox(t)
		cmd := exec.Command("/proc/self/exe", dir, host.path(), strconv.Itoa(pid))
		cmd.Args[0] = "churn"
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		time.Sleep(30*time.Millisecond + time.Duration(rand.Int64N(int64(100*time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		require.Equal(t, -1, exitCode(cmd), "it ended before it was killed")
		end()
		// The kernel deletes what was in a namespace some time after the last process's end.
		deadline := time.Now().Add(10 * time.Second)
		for {
			s, err := Open(dir, &Options{Namespace: host.path(), Table: "caisson"})
			require.NoError(t, err)
			err = s.Check(t.Context())
			networks, listErr := s.List()
			require.NoError(t, listErr)
			for _, n := range networks {
				require.Less(t, len(networks), 2)
				if err == nil {
					err = s.Remove(t.Context(), n.Name)
				}
			}
			require.NoError(t, s.Close())
			if err == nil {
				break
			}
			require.True(t, time.Now().Before(deadline), err)
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, []string{"lo"}, linksOf(host))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			require.Contains(t, []string{".lock", ".tmp", ".guarded.json"}, e.Name())
		}
		left, err := os.ReadDir(dir + "/.tmp")
		require.NoError(t, err)
		require.Empty(t, left)
	}
	testenv.RequireCommand(t, "nft")
	require.Empty(t, host.command("nft", "list", "ruleset"))
}

func exitCode(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}
