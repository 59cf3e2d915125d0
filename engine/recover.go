package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/kernel"
)

// sweep takes away what was half made or half removed when an engine died, and writes down which containers died with it.
func (e *Engine) sweep(ctx context.Context) error {
	left, err := e.abandoned()
	e.deleteLater(left)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	ids, err := e.ids()
	if err != nil {
		return err
	}
	needed := false // a supervisor
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := e.load(ctx, id)
		if err == nil && c.State.Status == Running {
			needed = needed || c.State.Supervised || c.State.Detached && c.watched()
			err = e.unpauseLeft(c)
		}
		needed = needed || err == nil && c.State.Restarting
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Warn("container cannot be read", "id", id, "error", err)
		}
	}
	if needed {
		e.wakeSupervisor(ctx)
	}
	return nil
}

// abandoned collects what engines that died left half made or half removed, and takes away the names that belong to no
// container. While others make or remove containers it does nothing: the next Open will.
func (e *Engine) abandoned() (*leavings, error) {
	left := &leavings{}
	l, held, err := durable.TryAcquire(e.lockPath(), true)
	if err != nil || held {
		return left, err
	}
	defer l.Close()
	tmp, err := os.ReadDir(filepath.Join(e.dir, "tmp"))
	if err != nil {
		return left, err
	}
	for _, entry := range tmp {
		path := filepath.Join(e.dir, "tmp", entry.Name())
		if !entry.IsDir() { // nothing that an engine makes
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return left, err
			}
			continue
		}
		lock, held, err := durable.TryAcquireDir(path)
		if errors.Is(err, fs.ErrNotExist) || held {
			continue // somebody is deleting it
		}
		if err != nil {
			return left, err
		}
		// The document names the volumes that were made, or were to be made, with the container.
		if c, err := readRecord(path); err == nil {
			left.volumes = append(left.volumes, e.unlinkVolumes(c)...)
		}
		left.folders = append(left.folders, leaving{path, lock})
		e.log.Info("swept a half-made container", "folder", path)
	}
	claims, err := os.ReadDir(filepath.Join(e.dir, "containers", "names"))
	if err != nil {
		return left, err
	}
	for _, claim := range claims {
		id := e.claimant(claim.Name())
		if id != "" {
			if _, err := os.Stat(e.path(id)); err == nil {
				continue
			}
		}
		if err := os.Remove(e.claimPath(claim.Name())); err != nil {
			return left, err
		}
	}
	return left, nil
}

// bury writes down that a container ended with its engine. The caller holds the container's lock.
func (e *Engine) bury(ctx context.Context, c *Container) error {
	if err := e.killInit(c); err != nil {
		e.log.Warn("left-over process", "id", c.ID, "pid", c.State.Pid, "error", err)
	}
	if err := e.releaseNetworks(ctx, c); err != nil {
		e.log.Warn("networks", "id", c.ID, "error", err) // the next Open takes back what is left
	}
	state := State{
		Status: Exited, ExitCode: 137, Started: c.State.Started, Finished: time.Now().UTC(),
		Error: "ended with the program that ran it", LogStart: c.State.LogStart,
	}
	state.Shared = c.State.Shared
	if state.Detached = c.State.Detached; state.Detached {
		if end, err := e.ending(ctx, c); err == nil {
			state = *end
		} else {
			e.log.Warn("the end of a container is not known", "id", c.ID, "error", err)
		}
	}
	removeCgroups(c.State.Cgroups)
	c.State = e.ended(c, state)
	e.log.Info("container has ended", "id", c.ID, "code", state.ExitCode, "error", state.Error)
	if err := e.write(c); err != nil {
		// A full disk must not keep anybody from seeing and removing it; the next look tries again.
		e.log.Warn("the end of a container could not be written down", "id", c.ID, "error", err)
	}
	e.noteEnd(c)
	if c.State.Restarting && e.halted(c.ID) { // whoever halts it now finds it written, but one before that may have read that it runs
		if err := e.noRestart(c); err != nil {
			e.log.Warn("container that was told to end", "id", c.ID, "error", err)
		}
	}
	if c.Config.AutoRemove {
		left, err := e.unlink(ctx, c, true)
		if err != nil {
			return fmt.Errorf("remove container %s: %w", c.ShortID(), err)
		}
		e.deleteLater(left)
	}
	return nil
}

// releaseNetworks takes back what a container that has ended is attached to: by who serves it, if there is one.
func (e *Engine) releaseNetworks(ctx context.Context, c *Container) (err error) {
	c.Endpoints = nil
	if c.State.Supervised {
		err = e.letGo(ctx, c.ID)
	}
	if c.sharesNetwork() {
		return err
	}
	return errors.Join(err, e.networks.Release(ctx, c.ID))
}

// killInit kills the container's first process if it still lives: the guardian has most likely done so.
func (e *Engine) killInit(c *Container) error {
	p, err := c.process()
	if err != nil {
		return nil // it is gone
	}
	defer func() { _ = p.Release() }()
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	thaw(c.State.Cgroups) // of a paused one; on cgroup v1 it would not end before
	return nil
}

// process returns a handle of the container's first process, or an error if it is gone. The handle is a pidfd, taken
// before the comparison, so the process behind it is the one compared.
func (c *Container) process() (*os.Process, error) {
	if c.State.Pid <= 0 || c.State.BootID != kernel.BootID() {
		return nil, os.ErrProcessDone
	}
	p, err := os.FindProcess(c.State.Pid)
	if err != nil {
		return nil, err
	}
	start, err := startTime(c.State.Pid)
	if err != nil || start != c.State.StartTime {
		_ = p.Release()
		return nil, os.ErrProcessDone
	}
	return p, nil
}

// removeCgroups removes the empty control groups that a dead engine left, the deepest first. Of a scope systemd removes those that it
// knows, which on v1 are not all.
func removeCgroups(dirs []string) {
	dirs = slices.Clone(dirs)
	for _, dir := range dirs {
		if parent := filepath.Dir(dir); strings.HasSuffix(parent, ".scope") && strings.HasPrefix(filepath.Base(parent), "caisson-") {
			dirs = append(dirs, parent)
		}
	}
	slices.SortFunc(dirs, func(a, b string) int { return len(b) - len(a) })
	for _, dir := range dirs {
		for range 400 {
			if err := os.Remove(dir); err == nil || !errors.Is(err, syscall.EBUSY) {
				break
			}
			time.Sleep(5 * time.Millisecond) // its last process is ending, which takes a while on a busy machine
		}
	}
}

// startTime returns field 22 of /proc/PID/stat: the process's start in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, and may itself hold spaces and parentheses.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
