package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Removing a group fails for a moment after its last process ended, so it is tried again.
const (
	removeWait     = 2 * time.Second // all tries together
	removeFirstNap = 100 * time.Microsecond
	removeLastNap  = 20 * time.Millisecond
)

// Remove removes the group and all groups below it, and those above that Create made, if they are empty. The
// processes must have ended, see [Group.Kill]: it waits up to two seconds for them, then returns ErrBusy; what could
// be removed is gone then, and Remove may be called again. A group that is gone already is no error.
func (g *Group) Remove() error {
	g.collectWatches()
	deadline := time.Now().Add(removeWait)
	var errs []error
	for _, n := range slices.Backward(g.nodes) {
		if err := n.removeUntil(deadline); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove group %s: %w", g.name, err)
	}
	return nil
}

// undo removes what a Create that failed has made: nobody else knows of it, so nothing can be in the way.
func (g *Group) undo() {
	for _, n := range slices.Backward(g.nodes) {
		n.remove()
	}
	_ = g.Close()
}

func (n *node) remove() {
	n.close()
	_ = n.removeUntil(time.Now().Add(removeWait))
}

func (n *node) removeUntil(deadline time.Time) error {
	if n.leaf != "" && !n.removeOwn() {
		err := n.inParent(n.leaf, func(dir int, name string) error { return n.removeTree(dir, name, deadline) })
		if err != nil {
			return err
		}
	}
	for _, path := range slices.Backward(n.above) {
		err := n.inParent(path, func(dir int, name string) error { return n.m.between.remove(dir, name, path) })
		if err != nil {
			return err
		}
	}
	return nil
}

// removeOwn removes a group right below the program's own by the descriptor of that one, as most can be, and says whether it
// could.
func (n *node) removeOwn() bool {
	name, ok := strings.CutPrefix(n.leaf, strings.TrimSuffix(n.h.path, "/")+"/")
	if !ok || strings.Contains(name, "/") || n.m.step("rmdir", n.leaf) != nil {
		return false
	}
	n.m.closing.RLock()
	defer n.m.closing.RUnlock()
	return !n.m.closed && rmdir(n.h.own, name) == nil
}

// inParent calls remove with the directory that holds path; without one, there is nothing to remove.
func (n *node) inParent(path string, remove func(dir int, name string) error) error {
	_ = n.m.step("rmdir", path)
	parent, name := filepath.Split(path)
	dir, err := openDir(unix.AT_FDCWD, parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", parent, err)
	}
	defer unix.Close(dir)
	return remove(dir, name)
}

// between holds the directories above groups that a Manager has made, in order to be removed with the last group.
type between struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (b *between) add(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paths == nil {
		b.paths = make(map[string]bool)
	}
	b.paths[path] = true
}

func (b *between) has(path string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.paths[path]
}

// remove removes the directory name in dir, which is at path, if it is one of them and nothing uses it.
func (b *between) remove(dir int, name, path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.paths[path] {
		return nil
	}
	err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	switch {
	case err == nil:
		delete(b.paths, path)
	case inUse(err), gone(err):
		// Not there does not mean that the path is free: dir may be one that was removed and made again since.
		return nil
	}
	return err
}

func rmdir(dir int, name string) error {
	_, err := retry(func() (int, error) { return 0, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func inUse(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) }

// removeTree removes the group name in dir, with those below it, trying until the deadline.
func (n *node) removeTree(dir int, name string, deadline time.Time) error {
	for nap := removeFirstNap; ; nap = min(2*nap, removeLastNap) {
		err := rmdir(dir, name)
		if err == nil || !inUse(err) {
			return wrapPath("rmdir", n.leaf, err)
		}
		if child, err := openDir(dir, name); err == nil {
			err = walk(child, nil, func(parent int, name string) error {
				if err := rmdir(parent, name); !inUse(err) {
					return err
				}
				return nil // the next round tries again
			})
			if err != nil {
				return wrapPath("rmdir below", n.leaf, err)
			}
		}
		if time.Now().After(deadline) {
			return n.busy(dir, name, err)
		}
		time.Sleep(nap)
	}
}

func wrapPath(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, path, err)
}

// busy is the error that says who is in the way.
func (n *node) busy(dir int, name string, err error) error {
	var pids []int
	if child, openErr := openDir(dir, name); openErr == nil {
		pids, _ = pidsBelow(child)
	}
	if len(pids) > 10 {
		return fmt.Errorf("rmdir %s: %w: %w: %d processes run in it", n.leaf, err, ErrBusy, len(pids))
	}
	return fmt.Errorf("rmdir %s: %w: %w: processes %v", n.leaf, err, ErrBusy, pids)
}

// walk visits the directory dir and those below it, depth first, and closes dir. enter is called with a descriptor of
// each before its children, leave with that of the parent and the name after them, but not for dir itself. Either may
// be nil. Whoever runs in a group may be able to make groups below it, as deep as he likes: so there is one descriptor
// at a time and no recursion, and directories that vanish are passed over.
func walk(dir int, enter func(dir int) error, leave func(parent int, name string) error) error {
	type level struct {
		name    string
		pending []string
	}
	var stack []level
	defer func() { _ = unix.Close(dir) }()
	descend := func(name string) error {
		if enter != nil {
			if err := enter(dir); err != nil && !gone(err) {
				return err
			}
		}
		names, err := subdirs(dir)
		if err != nil && !gone(err) {
			return err
		}
		stack = append(stack, level{name, names})
		return nil
	}
	if err := descend(""); err != nil {
		return err
	}
	for {
		top := &stack[len(stack)-1]
		if len(top.pending) > 0 {
			name := top.pending[0]
			top.pending = top.pending[1:]
			next, err := openDir(dir, name)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			_ = unix.Close(dir)
			dir = next
			if err := descend(name); err != nil {
				return err
			}
			continue
		}
		if len(stack) == 1 {
			return nil
		}
		up, err := openDir(dir, "..")
		if err != nil {
			if gone(err) {
				return nil // removed under our feet, with all that was below the one above
			}
			return err
		}
		_ = unix.Close(dir)
		dir = up
		name := top.name
		stack = stack[:len(stack)-1]
		if leave != nil {
			if err := leave(dir, name); err != nil {
				return err
			}
		}
	}
}

// gone reports whether err says that a group was removed: ENODEV comes from the files of one that is going.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
