package cgroups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// freezeBeforeKill bounds how long Kill waits for the group to freeze before it sends signals all the same.
const freezeBeforeKill = 200 * time.Millisecond

// Kill kills all processes of the group and of the groups below it, frozen ones too, however fast they fork, and
// returns when none is left but zombies. ctx bounds the waiting; a process in uninterruptible sleep may outlast it.
// It uses cgroup.kill (Linux ≥ 5.14) of the unified hierarchy; without it, it freezes the group, signals each process
// by a pidfd, thaws, and looks again.
func (g *Group) Kill(ctx context.Context) error {
	if err := g.acquire("kill"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	if err := g.kill(ctx); err != nil {
		return fmt.Errorf("kill group %s: %w", g.name, err)
	}
	return nil
}

func (g *Group) kill(ctx context.Context) error {
	unified := g.unified()
	for nap := 50 * time.Microsecond; ; nap = min(2*nap, 10*time.Millisecond) {
		dying, err := g.killUnified(unified)
		if err != nil {
			return err
		}
		if !dying {
			unified = nil
		}
		pids, err := g.pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		left := pids
		if unified != nil {
			// These die by themselves. Others may have left the unified group only.
			dying, err := unified.pids()
			if err != nil {
				return err
			}
			left = slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return slices.Contains(dying, pid) })
		}
		if len(left) > 0 {
			if err := g.signalAll(ctx, unix.SIGKILL); err != nil {
				return err
			}
		}
		if err := sleep(ctx, nap); err != nil {
			return fmt.Errorf("%w: processes %v still run", err, pids[:min(len(pids), 10)])
		}
	}
}

// killUnified uses cgroup.kill, and reports whether n has it. A threaded group refuses it with EOPNOTSUPP.
func (g *Group) killUnified(n *node) (bool, error) {
	if n == nil {
		return false, nil
	}
	err := g.m.step("kill", n.path)
	if err == nil {
		err = writeFile(n.fd(), "cgroup.kill", "1")
	}
	switch {
	case err == nil:
		return true, nil
	case gone(err), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	}
	return false, fmt.Errorf("write 1 to %s/cgroup.kill: %w", n.path, err)
}

// signalAll freezes the group in each hierarchy that can, so that none forks, sends sig to each process and thaws.
func (g *Group) signalAll(ctx context.Context, sig unix.Signal) error {
	var list []freezer
	if n := g.unified(); n != nil {
		list = append(list, freezer{n})
	}
	if n, err := g.node("freezer"); err == nil {
		list = append(list, freezer{n})
	}
	// Whether all froze or not, all are to die now; and a frozen process of v1 does not even do that.
	defer func() {
		for _, f := range list {
			_ = f.write(false)
		}
	}()
	for _, f := range list {
		bound, cancel := context.WithTimeout(ctx, freezeBeforeKill)
		err := f.freeze(bound)
		cancel()
		if err != nil && bound.Err() == nil && !gone(err) {
			return err
		}
	}
	return g.signal(sig)
}

// signal sends sig to the processes of the group. A pid could be another process's by the time: so the pidfd is opened
// first and counts only if the pid is listed still.
func (g *Group) signal(sig unix.Signal) error {
	pids, err := g.pids()
	if err != nil {
		return err
	}
	const batch = 256 // descriptors at a time
	for chunk := range slices.Chunk(pids, batch) {
		if err := g.signalSome(chunk, sig); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) signalSome(pids []int, sig unix.Signal) error {
	fds := make(map[int]int, len(pids))
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			continue // it ended; EINVAL: what is left of it is a thread
		}
		if err != nil {
			return fmt.Errorf("pidfd_open %d: %w", pid, err)
		}
		fds[pid] = fd
	}
	still, err := g.pids()
	if err != nil {
		return err
	}
	for pid, fd := range fds {
		if _, ok := slices.BinarySearch(still, pid); !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	return nil
}
