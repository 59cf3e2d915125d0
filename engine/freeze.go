package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// freeze stops the processes of control groups, given by their folders, until the function that it returns is called.
// What was frozen before stays so. Where there is no freezer, nothing happens.
func freeze(ctx context.Context, groups []string) (thaw func() error, err error) {
	for _, dir := range groups {
		for _, f := range freezers {
			path := filepath.Join(dir, f.file)
			was, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("freeze: %w", err)
			}
			if string(bytes.TrimSpace(was)) == f.on {
				return func() error { return nil }, nil
			}
			thaw := func() error { return os.WriteFile(path, []byte(f.off), 0) }
			err = os.WriteFile(path, []byte(f.on), 0)
			for wait := time.Millisecond; err == nil; wait = min(2*wait, 50*time.Millisecond) {
				b, rerr := os.ReadFile(filepath.Join(dir, f.state))
				if err = rerr; err == nil && bytes.Contains(b, []byte(f.frozen)) {
					return thaw, nil
				}
				select {
				case <-ctx.Done():
					err = ctx.Err()
				case <-time.After(wait):
				}
			}
			return nil, errors.Join(fmt.Errorf("freeze %s: %w", dir, err), thaw())
		}
	}
	return func() error { return nil }, nil
}

// pauseFor freezes a container's processes until the function that it returns is called. If this program is killed before,
// the next that opens the engine lets them go on: a file in the container's folder, locked meanwhile, says that it is to.
// So does the next that calls this.
func (e *Engine) pauseFor(ctx context.Context, c *Container) (resume func() error, err error) {
	l, err := durable.Acquire(ctx, e.path(c.ID, pausedFile), true)
	if err != nil {
		return nil, err
	}
	left, err := l.File().Stat()
	if err == nil && left.Size() > 0 { // by one that was killed
		thaw(c.State.Cgroups)
	}
	if frozen(c.State.Cgroups) { // somebody has paused it, and it stays so
		return func() error { return nil }, l.Remove()
	}
	if _, err := l.File().WriteString("frozen\n"); err != nil {
		return nil, errors.Join(err, l.Remove())
	}
	done, err := e.steady(ctx, c)
	if err != nil {
		return nil, errors.Join(err, l.Remove())
	}
	on, err := freeze(ctx, c.State.Cgroups)
	done()
	if err != nil {
		return nil, errors.Join(err, l.Remove())
	}
	return func() error {
		err := on()
		if errors.Is(err, os.ErrNotExist) { // the groups are gone when the container was killed meanwhile
			err = nil
		}
		if e := l.Remove(); !errors.Is(e, os.ErrNotExist) { // as is the folder when it was removed
			err = errors.Join(err, e)
		}
		return err
	}, nil
}

// pausedFile is in a container's folder while pauseFor has frozen its processes.
const pausedFile = "paused"

// unpauseLeft lets the processes go on that a program which was killed has frozen.
func (e *Engine) unpauseLeft(c *Container) error {
	path := e.path(c.ID, pausedFile)
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	l, held, err := durable.TryAcquire(path, true)
	if err != nil || held {
		return err
	}
	thaw(c.State.Cgroups)
	return l.Remove()
}

// frozen says whether the processes of control groups are frozen, or are to be.
func frozen(groups []string) bool {
	for _, dir := range groups {
		for _, f := range freezers {
			was, err := os.ReadFile(filepath.Join(dir, f.file))
			if err == nil && string(bytes.TrimSpace(was)) != f.off {
				return true
			}
		}
	}
	return false
}

// freezers are the files of cgroup v2 and v1.
var freezers = []struct{ file, on, off, state, frozen string }{
	{"cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"},
	{"freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"},
}

// thaw lets the processes of a container go on, whoever froze them. What is gone needs none.
func thaw(groups []string) {
	for _, dir := range groups {
		for _, f := range freezers {
			path := filepath.Join(dir, f.file)
			if was, err := os.ReadFile(path); err == nil && string(bytes.TrimSpace(was)) != f.off {
				_ = os.WriteFile(path, []byte(f.off), 0)
			}
		}
	}
}
