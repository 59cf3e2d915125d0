package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/internal/diskusage"
	"github.com/caisson-engine/caisson/layer"
)

// A Change is a file or folder in which a container's file system differs from its image.
type Change struct {
	Path string
	Kind ChangeKind
}

// A ChangeKind says how something differs.
type ChangeKind int

// The kinds, with Docker's numbers.
const (
	Modified ChangeKind = iota
	Added
	Deleted
)

// Changes lists in what the file system of the container that ref names differs from its image, without what is mounted in it, by path. What
// every start makes for its own mounts, as Docker's images have it already (/proc, /etc/hosts), is no change.
func (e *Engine) Changes(ctx context.Context, ref string) (list []Change, err error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("changes of container %s: %w", c.ShortID(), err)
		}
	}()
	img, err := e.images.Get(ctx, string(c.ImageID), nil)
	if err != nil {
		return nil, err
	}
	release, err := e.images.Hold(ctx, img)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	lower, err := layer.Mount(ctx, img.Layers, &layer.MountOptions{ReadOnly: true, Copy: layer.CopyFallback})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lower.Close()) }()
	folder, err := lower.OpenFolder("/")
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	image, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()))
	if err != nil {
		return nil, err
	}
	defer image.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = w.CloseWithError(e.changes(ctx, c, w))
	}()
	list, err = listChanges(tar.NewReader(r), image.Lstat)
	cancel()
	_ = r.Close()
	<-written
	return list, err
}

// mountPoints are what a start makes where an image has it not, to mount something there.
var mountPoints = map[string]byte{
	"dev": tar.TypeDir, "proc": tar.TypeDir, "sys": tar.TypeDir, "etc/hosts": tar.TypeReg, "etc/hostname": tar.TypeReg, "etc/resolv.conf": tar.TypeReg,
}

// listChanges reads a layer. inImage says what was there before.
func listChanges(r *tar.Reader, inImage func(name string) (fs.FileInfo, error)) (list []Change, err error) {
	etc := false // a start has made files there, and nothing else is known to be changed of it
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.Trim(path.Clean("/"+h.Name), "/")
		dir, base := path.Split(name)
		if name == "" || base == ".wh..wh..opq" {
			continue
		}
		if gone, ok := strings.CutPrefix(base, ".wh."); ok {
			list = append(list, Change{"/" + dir + gone, Deleted})
			continue
		}
		kind := Added
		before, err := inImage(name)
		if err == nil {
			kind = Modified
		}
		if made, ok := mountPoints[name]; ok && kind == Added && h.Typeflag == made && h.Size == 0 {
			continue
		}
		if name == "etc" && h.Typeflag == tar.TypeDir && (kind == Added || before.Mode() == h.FileInfo().Mode()) {
			etc = true
		}
		list = append(list, Change{"/" + name, kind})
	}
	if etc && !slices.ContainsFunc(list, func(c Change) bool { return strings.HasPrefix(c.Path, "/etc/") }) {
		list = slices.DeleteFunc(list, func(c Change) bool { return c.Path == "/etc" })
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// ContainerSize returns what the writable layer of the container that ref names takes on disk, in bytes, as du(1) counts.
func (e *Engine) ContainerSize(ctx context.Context, ref string) (int64, error) {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return 0, err
	}
	var meter diskusage.Meter
	n, err := meter.Tree(ctx, e.path(c.ID, "upper"))
	if errors.Is(err, os.ErrNotExist) { // it was never started
		return 0, nil
	}
	return n, err
}
