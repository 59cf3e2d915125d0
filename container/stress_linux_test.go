package container_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// Several goroutines start, execute in, stop and interrupt containers in one root at once. What one leaves behind is
// found by the leak checks.
func TestManyAtOnce(t *testing.T) {
	testenv.RequireRoot(t)
	root := namespace.Dir(testenv.NewRootfs(t, "echo", "trap", "exit"))
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range rounds {
				if err := oneOfMany(t, root, worker+i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func oneOfMany(t *testing.T, root *namespace.Root, kind int) error {
	c := container.New(root, "trap")
	c.Cgroup = testenv.CgroupName(t)
	switch kind % 4 {
	case 0:
		c.Args = []string{"echo", "hello"}
		out, err := c.Output(t.Context())
		if string(out) != "hello\n" {
			return fmt.Errorf("echo: %q, %w", out, err)
		}
		return err
	case 1:
		c.Args = []string{"no-such-command"}
		var start *container.StartError
		if err := c.Run(t.Context()); !errors.As(err, &start) {
			return fmt.Errorf("no command: %w", err)
		}
		return nil
	case 2: // may end before, during or after the start
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kind)*time.Millisecond)
		defer cancel()
		if err := c.Run(ctx); !errors.Is(err, context.DeadlineExceeded) && c.State == nil {
			return fmt.Errorf("interrupted: %w", err)
		}
		return nil
	}
	if err := c.Start(t.Context()); err != nil {
		return err
	}
	err := c.Command("exit", "0").Run(t.Context())
	return errors.Join(err, c.Kill(), ignoreExit(c.Wait(t.Context())))
}

func ignoreExit(err error) error {
	var exit *container.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}
