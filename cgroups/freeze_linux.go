package cgroups

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Freeze stops all processes of the group and of the groups below it, and returns when none runs any more. ctx bounds
// the waiting; when it ends first, the group is thawed and its error returned. (A process in uninterruptible sleep
// freezes only when that is over.) Processes that are added later freeze too.
func (g *Group) Freeze(ctx context.Context) error {
	if err := g.acquire("freeze"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	f, err := g.freezer()
	if err == nil {
		err = f.freeze(ctx)
	}
	if err != nil {
		return fmt.Errorf("freeze group %s: %w", g.name, err)
	}
	return nil
}

func (f freezer) freeze(ctx context.Context) error {
	for nap := 50 * time.Microsecond; ; nap = min(2*nap, 10*time.Millisecond) {
		// v1 misses processes forked while it freezes; writing again gets them.
		if err := f.write(true); err != nil {
			return err
		}
		done, err := f.frozen()
		if err != nil || done {
			return err
		}
		if err := sleep(ctx, nap); err != nil {
			return errors.Join(err, f.write(false))
		}
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Thaw lets the processes run on. It undoes one Freeze or several.
func (g *Group) Thaw() error {
	if err := g.acquire("thaw"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	f, err := g.freezer()
	if err == nil {
		err = f.write(false)
	}
	if err != nil {
		return fmt.Errorf("thaw group %s: %w", g.name, err)
	}
	return nil
}

// Frozen reports whether all processes are frozen, by us, another program, or with a group above.
func (g *Group) Frozen() (bool, error) {
	if err := g.acquire("look at"); err != nil {
		return false, err
	}
	defer g.mu.RUnlock()
	f, err := g.freezer()
	if err != nil {
		return false, fmt.Errorf("frozen state of group %s: %w", g.name, err)
	}
	return f.frozen()
}

// A freezer is the directory by which a group is frozen.
type freezer struct{ *node }

// freezer returns the unified hierarchy's (cgroup.freeze, Linux ≥ 5.2) or that of v1's controller.
func (g *Group) freezer() (freezer, error) {
	if n := g.unified(); n != nil {
		return freezer{n}, nil
	}
	n, err := g.node("freezer")
	return freezer{n}, err
}

func (f freezer) write(frozen bool) error {
	file, text := "cgroup.freeze", map[bool]string{true: "1", false: "0"}[frozen]
	if !f.h.unified {
		file, text = "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[frozen]
	}
	err := f.m.step("freeze", f.path)
	if err == nil {
		err = writeFile(f.fd(), file, text)
	}
	if err != nil {
		return fmt.Errorf("write %s to %s/%s: %w", text, f.path, file, err)
	}
	return nil
}

func (f freezer) frozen() (bool, error) {
	if f.h.unified {
		b, err := readFile(f.fd(), "cgroup.events")
		if err != nil {
			return false, fmt.Errorf("read %s/cgroup.events: %w", f.path, err)
		}
		return parseKeys(b)["frozen"] == 1, nil
	}
	b, err := readFile(f.fd(), "freezer.state")
	if err != nil {
		return false, fmt.Errorf("read %s/freezer.state: %w", f.path, err)
	}
	return strings.TrimSpace(string(b)) == "FROZEN", nil
}
