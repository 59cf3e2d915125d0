package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
)

// Stats are what a running container uses.
type Stats struct {
	cgroups.Stats
	// Received and Sent are the bytes that its network interfaces took and sent; zero with the host's network.
	Received, Sent uint64
}

// Stats returns what the running container that ref names uses, whoever started it. One that does not run is a [Conflict].
func (e *Engine) Stats(ctx context.Context, ref string) (u *Stats, err error) {
	err = e.withGroup(ctx, ref, func(c *Container, g *cgroups.Group) error {
		s, err := g.Stats()
		if err != nil {
			return err
		}
		u = &Stats{Stats: *s}
		if c.Config.Network != "host" {
			u.Received, u.Sent = traffic(c.State.Pid)
		}
		return nil
	})
	return u, err
}

// Pids returns the processes of the running container that ref names, as the host numbers them.
func (e *Engine) Pids(ctx context.Context, ref string) (pids []int, err error) {
	err = e.withGroup(ctx, ref, func(_ *Container, g *cgroups.Group) (err error) {
		pids, err = g.Pids()
		return err
	})
	return pids, err
}

// withGroup calls f with a running container's control group.
func (e *Engine) withGroup(ctx context.Context, ref string, f func(*Container, *cgroups.Group) error) error {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.State.Status != Running {
		return conflict("container %s is not running", c.Name)
	}
	if len(c.State.Cgroups) == 0 {
		return fmt.Errorf("container %s has no control group: %w", c.Name, errors.ErrUnsupported)
	}
	m, err := cgroups.Detect()
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	g, err := m.OpenPaths(c.State.Cgroups)
	if errors.Is(err, os.ErrNotExist) {
		return conflict("container %s is not running", c.Name)
	}
	if err != nil {
		return err
	}
	defer func() { _ = g.Close() }()
	return f(c, g)
}

// traffic adds up /proc/PID/net/dev, without the loopback interface.
func traffic(pid int) (received, sent uint64) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		name, counts, ok := strings.Cut(line, ":")
		f := strings.Fields(counts)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			continue
		}
		r, _ := strconv.ParseUint(f[0], 10, 64)
		s, _ := strconv.ParseUint(f[8], 10, 64)
		received, sent = received+r, sent+s
	}
	return received, sent
}
