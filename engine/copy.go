package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/treecopy"
	"github.com/caisson-engine/caisson/namespace"
)

// CopyFrom writes a file or folder of the container that ref names, with all below it, as a tar stream whose first entry has
// the last part of the path as its name: "." if that is "/.", behind a link to a folder too. If the path ends in a symbolic
// link, the link is written. Of a container that does not run, what is mounted in it is not seen. Owners are those that the container sees.
func (e *Engine) CopyFrom(ctx context.Context, ref, name string, w io.Writer) error {
	dir, base := path.Split(path.Join("/", name))
	if base == "" || strings.HasSuffix(name, "/.") {
		dir, base = path.Join("/", name), "."
	}
	return e.copied(ctx, "archive-path", ref, dir, func(c *Container, tree treecopy.Tree, d *namespace.Deputy) error {
		return treecopy.Write(ctx, w, tree, base, base, c.seenBy(d).ownerInside())
	})
}

// CopyTo makes the files of a tar stream below a folder of the container that ref names. Files belong to the container's root, unless
// o.Owners is set. o may be nil.
func (e *Engine) CopyTo(ctx context.Context, ref, dir string, r io.Reader, o *CopyOptions) error {
	if o == nil {
		o = &CopyOptions{}
	}
	return e.copied(ctx, "extract-to-dir", ref, dir, func(c *Container, tree treecopy.Tree, d *namespace.Deputy) error {
		extract := func(owner func(uid, gid int) (int, int)) error {
			return treecopy.Extract(ctx, tree, r, &treecopy.Options{Owners: o.Owners, Rename: o.Rename, Owner: owner})
		}
		if d == nil {
			return c.asRoot(func() error { return extract(c.ownerOutside()) })
		}
		owner := c.ownerOfDeputy(d)
		if uid, gid := owner(0, 0); uid == nowhere || gid == nowhere {
			return c.rootNowhere(d)
		} else if uid != 0 || gid != 0 {
			if err := d.SetOwner(uint32(uid), uint32(gid)); err != nil {
				return err
			}
		}
		return extract(owner)
	})
}

// copied is inFolder for a copy that is an event.
func (e *Engine) copied(ctx context.Context, action, ref, dir string, f func(c *Container, tree treecopy.Tree, d *namespace.Deputy) error) error {
	var of *Container
	err := e.inFolder(ctx, ref, dir, func(c *Container, tree treecopy.Tree, d *namespace.Deputy) error {
		of = c
		return f(c, tree, d)
	})
	if err == nil {
		e.note(action, of)
	}
	return err
}

// CopyOptions are for CopyTo.
type CopyOptions struct {
	// Owners gives files the owners that the stream says.
	Owners bool
	// Rename gives an entry of the stream another name; "" leaves it out. Nil changes none.
	Rename func(name string) string
}

// StatPath says what a path of the container that ref names is. Links in it are followed inside the container, the last one
// only if follow is true and it leads to a folder.
func (e *Engine) StatPath(ctx context.Context, ref, name string, follow bool) (st fs.FileInfo, err error) {
	name = path.Join("/", name)
	dir, base := path.Split(name)
	if base == "" {
		base = "."
	}
	if follow {
		err = e.inFolder(ctx, ref, name, func(_ *Container, tree treecopy.Tree, _ *namespace.Deputy) (err error) {
			st, err = tree.Lstat(".")
			return err
		})
		if err == nil {
			return st, nil
		}
	}
	err = e.inFolder(ctx, ref, dir, func(_ *Container, tree treecopy.Tree, _ *namespace.Deputy) (err error) {
		st, err = tree.Lstat(base)
		return err
	})
	return st, err
}

// FollowPath returns the path without symbolic links of a file or folder of the container that ref names: what a path leads to there.
func (e *Engine) FollowPath(ctx context.Context, ref, name string) (real string, err error) {
	err = e.withRoot(ctx, ref, name, func(_ *Container, root *namespace.Root, check func() error) error {
		if err := check(); err != nil {
			return err
		}
		d, err := ordinaryDeputy(ctx)
		if err != nil {
			return err
		}
		defer closeDeputy(d)
		if real, err = follow(root, name, d); err != nil {
			return notInContainer(path.Join("/", name), err)
		}
		return check()
	})
	return real, err
}

// maxLinks is how many links a path may lead over, as for the kernel.
const maxLinks = 40

func follow(root *namespace.Root, name string, d *namespace.Deputy) (string, error) {
	real, links := "/", 0
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			real = path.Dir(real)
			continue
		}
		link, err := readLink(root, real, next, d)
		switch {
		case errors.Is(err, syscall.EINVAL): // it is none
			real = path.Join(real, next)
			continue
		case err != nil:
			return "", err
		case links == maxLinks:
			return "", &fs.PathError{Op: "follow", Path: name, Err: syscall.ELOOP}
		case path.IsAbs(link):
			real = "/"
		}
		links++
		rest = append(strings.Split(link, "/"), rest...)
	}
	return real, nil
}

func readLink(root *namespace.Root, dir, name string, d *namespace.Deputy) (string, error) {
	folder, err := root.OpenFolder(dir)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	tree, done, err := treeIn(folder, d)
	if err != nil {
		return "", err
	}
	defer done()
	return tree.Readlink(name)
}

// inFolder calls f with a folder of a container. Nothing that f does with it leads out of it. For an ordinary user's program it is a deputy that
// does it, which f gets too.
func (e *Engine) inFolder(ctx context.Context, ref, dir string, f func(*Container, treecopy.Tree, *namespace.Deputy) error) error {
	return e.withRoot(ctx, ref, dir, func(c *Container, root *namespace.Root, check func() error) error {
		folder, err := root.OpenFolder(dir)
		if err != nil {
			return notInContainer(dir, err)
		}
		defer folder.Close()
		if err := check(); err != nil {
			return err
		}
		d, err := ordinaryDeputy(ctx)
		if err != nil {
			return err
		}
		defer closeDeputy(d)
		tree, done, err := treeIn(folder, d)
		if err != nil {
			return err
		}
		defer done()
		err = f(c, tree, d)
		var p *fs.PathError
		if errors.As(err, &p) && errors.Is(err, fs.ErrNotExist) {
			return notInContainer(path.Join(dir, p.Path), err)
		}
		return err
	})
}

func notInContainer(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("Could not find the file %s in the container", name)
	}
	return err
}

// setUpPatience bounds the wait for a container that another program is starting. One that takes the name of a process in its set-up is
// refused after that.
const setUpPatience = 10 * time.Second

// awaitSetUp waits until the container's first process executes its command: before that it has the root of the program that starts it.
func (c *Container) awaitSetUp(ctx context.Context) error {
	proc, err := findProcess(c.State.Pid, c.State.StartTime)
	if err != nil {
		return err
	}
	defer proc.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, setUpPatience, conflict("container %s is being started", c.Name))
	defer cancel()
	return proc.AwaitSetUp(ctx)
}

// withRoot calls f with a container's root file system. check says whether that is still the container's: it is called when
// something in it was opened.
func (e *Engine) withRoot(ctx context.Context, ref, name string, f func(c *Container, root *namespace.Root, check func() error) error) (err error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.State.Status == Running {
		p, err := c.process()
		if err == nil {
			defer func() { _ = p.Release() }()
			err = c.awaitSetUp(ctx)
		}
		if errors.Is(err, os.ErrProcessDone) {
			return conflict("container %s is not running", c.Name)
		}
		if err != nil {
			return err
		}
		return f(c, namespace.Dir(fmt.Sprintf("/proc/%d/root", c.State.Pid)), func() error {
			if alive(p) {
				return nil
			}
			return conflict("container %s is not running", c.Name)
		})
	}
	for _, m := range c.Mounts {
		if target := path.Clean(m.Target); path.Clean(name) == target || strings.HasPrefix(path.Clean(name), target+"/") {
			return fmt.Errorf("%s is mounted while container %s runs: start it first: %w", target, c.Name, errors.ErrUnsupported)
		}
	}
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l, err := durable.Acquire(wait, e.path(c.ID, "lock"), true) // it does not start meanwhile
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return conflict("container %s is being started", c.Name)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if c, err = e.reread(ctx, c.ID); err != nil {
		return err
	}
	r := &Run{e: e, lock: l, record: c}
	defer func() { err = errors.Join(err, r.release(ctx)) }()
	if err := r.mount(ctx); err != nil {
		return err
	}
	return f(c, r.root, func() error { return nil })
}
