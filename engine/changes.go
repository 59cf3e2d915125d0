package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
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

// Changes lists in what the file system of the container that ref names differs from its image, without what is mounted in it, by path.
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
	list, err = listChanges(tar.NewReader(r), func(name string) bool {
		_, err := image.Lstat(name)
		return err == nil
	})
	cancel()
	_ = r.Close()
	<-written
	return list, err
}

// listChanges reads a layer. inImage says whether something was there before.
func listChanges(r *tar.Reader, inImage func(name string) bool) (list []Change, err error) {
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
		if inImage(name) {
			kind = Modified
		}
		list = append(list, Change{"/" + name, kind})
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
