package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/internal/treecopy"
)

type copyFlags struct{ archive, follow, quiet bool }

func (a *app) cpCommand() *cobra.Command {
	x := &copyFlags{}
	c := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n  minidocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files or folders between a container and the local file system", Args: cobra.ExactArgs(2), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			from, to := parsePlace(args[0]), parsePlace(args[1])
			switch {
			case from.container != "" && to.container != "":
				return errors.New("copying between containers is not supported")
			case from.container == "" && to.container == "":
				return errors.New("must specify at least one container source")
			}
			return a.withEngine(func(e *engine.Engine) error {
				if from.container != "" {
					return a.copyOut(e, x, from, to)
				}
				return a.copyIn(e, x, from, to)
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&x.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&x.follow, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	f.BoolVarP(&x.quiet, "quiet", "q", false, "Suppress progress output during copy")
	return c
}

// A place is a path, of a container or, without one, of this machine.
type place struct{ container, path string }

// parsePlace takes CONTAINER:PATH apart. What begins with a slash or a dot is a path of this machine.
func parsePlace(arg string) place {
	if c, p, ok := strings.Cut(arg, ":"); ok && c != "" && !strings.HasPrefix(arg, "/") && !strings.HasPrefix(arg, ".") {
		return place{c, p}
	}
	return place{path: arg}
}

// contents says that a path ends in "/.": what is in the folder is meant, not the folder.
func contents(p string) bool { return strings.HasSuffix(p, "/.") || p == "." }

// A target is where a copied thing goes: into a folder, under a name; "" says that the folder takes what is in the thing.
type target struct{ dir, name string }

// aim works out where a thing called base goes that is to be copied to dest, which is there as st or, if that is nil, is not.
func aim(dest string, st fs.FileInfo, base string, isDir, contents bool) (target, error) {
	dir, name := path.Split(strings.TrimRight(dest, "/"))
	switch {
	case st == nil && strings.HasSuffix(dest, "/") && !isDir:
		return target{}, fmt.Errorf("no such directory: %s: %w", dest, fs.ErrNotExist)
	case st == nil:
		return target{dir, name}, nil
	case st.IsDir() && contents:
		return target{dest, ""}, nil
	case st.IsDir():
		return target{dest, base}, nil
	case isDir:
		return target{}, fmt.Errorf("cannot copy a directory to a file: %s: %w", dest, fs.ErrExist)
	case strings.HasSuffix(dest, "/"):
		return target{}, fmt.Errorf("%s is not a directory: %w", dest, fs.ErrInvalid)
	}
	return target{dir, name}, nil
}

// rename gives the entries of a stream, whose first is called base, the target's name.
func (t target) rename(base string) func(string) string {
	return func(name string) string {
		rest := strings.TrimPrefix(strings.TrimPrefix(name, base), "/")
		if name != base && !strings.HasPrefix(name, base+"/") && base != "." {
			return "" // not of the thing
		}
		if base == "." {
			rest = name
		}
		if n := path.Join(t.name, rest); n != "" {
			return n
		}
		return "."
	}
}

// copyOut copies from a container.
func (a *app) copyOut(e *engine.Engine, x *copyFlags, from, to place) error {
	name := path.Join("/", from.path)
	base := path.Base(name) // a link's, if it is followed
	if x.follow {
		var err error
		if name, err = e.FollowPath(a.ctx, from.container, from.path); err != nil {
			return err
		}
	}
	if to.path == "-" {
		return e.CopyFrom(a.ctx, from.container, name, a.stdout)
	}
	st, err := e.StatPath(a.ctx, from.container, name, x.follow || contents(from.path) || strings.HasSuffix(from.path, "/"))
	if err != nil {
		return err
	}
	here, err := os.Stat(to.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case err != nil:
		here = nil
	case !here.IsDir() && !here.Mode().IsRegular():
		return fmt.Errorf("cannot copy to %s: it is neither a folder nor a file: %w", to.path, errors.ErrUnsupported)
	case !here.IsDir(): // what a link leads to is written, not the link
		if to.path, err = filepath.EvalSymlinks(to.path); err != nil {
			return err
		}
	}
	if name == "/" {
		base = "."
	}
	t, err := aim(filepath.ToSlash(to.path), here, base, st.IsDir(), contents(from.path) || name == "/")
	if err != nil {
		return err
	}
	if t.dir == "" {
		t.dir = "."
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	base = path.Base(name)
	if st.IsDir() { // what is in the folder, behind a link too
		name, base = name+"/.", "."
	}
	return pipe(func(w io.Writer) error { return e.CopyFrom(a.ctx, from.container, name, w) }, func(r io.Reader) error {
		return treecopy.Extract(a.ctx, root, r, &treecopy.Options{Rename: t.rename(base), Owners: x.archive, NoSetID: !x.archive})
	})
}

// copyIn copies into a container.
func (a *app) copyIn(e *engine.Engine, x *copyFlags, from, to place) error {
	dest := path.Join("/", to.path)
	if strings.HasSuffix(to.path, "/") && dest != "/" {
		dest += "/"
	}
	o := &engine.CopyOptions{Owners: x.archive}
	there, err := e.StatPath(a.ctx, to.container, dest, true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		there = nil
		if _, e := e.Inspect(a.ctx, to.container); e != nil {
			return e
		}
	}
	if from.path == "-" {
		if there == nil || !there.IsDir() {
			return fmt.Errorf("destination %q must be a directory", to.container+":"+to.path)
		}
		return e.CopyTo(a.ctx, to.container, dest, a.stdin, o)
	}
	local, err := filepath.Abs(from.path)
	if err != nil {
		return err
	}
	base, all := filepath.Base(local), contents(from.path)
	if x.follow || all || strings.HasSuffix(from.path, "/") { // it keeps the link's name
		if local, err = filepath.EvalSymlinks(local); err != nil {
			return err
		}
	}
	st, err := os.Lstat(local)
	if err != nil {
		return err
	}
	if !st.IsDir() && (all || strings.HasSuffix(from.path, "/")) {
		return fmt.Errorf("%s is not a directory: %w", from.path, fs.ErrInvalid)
	}
	thing := filepath.Base(local)
	if thing == string(filepath.Separator) { // the root has no name
		thing = "."
	}
	if base == string(filepath.Separator) {
		base, all = ".", true
	}
	t, err := aim(dest, there, base, st.IsDir(), all)
	if err != nil {
		return err
	}
	o.Rename = t.rename(base)
	parent, err := os.OpenRoot(filepath.Dir(local))
	if err != nil {
		return err
	}
	defer parent.Close()
	return pipe(func(w io.Writer) error { return treecopy.Write(a.ctx, w, parent, thing, base, nil) },
		func(r io.Reader) error { return e.CopyTo(a.ctx, to.container, t.dir, r, o) })
}

// pipe runs two functions, of which one reads what the other one writes.
func pipe(write func(io.Writer) error, read func(io.Reader) error) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		done <- errors.Join(err, w.CloseWithError(err))
	}()
	err := read(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // what is behind the end of the archive
	}
	_ = r.CloseWithError(errors.Join(err, context.Canceled))
	werr := <-done
	switch {
	case werr != nil && !errors.Is(werr, context.Canceled):
		return werr
	}
	return err
}
