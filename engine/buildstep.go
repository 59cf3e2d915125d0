package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
)

// ImageStore returns the store of the engine's images.
func (e *Engine) ImageStore() *image.Store { return e.images }

// Image returns what StartOptions.Commit made, or nil.
func (r *Run) Image() *image.Image { return r.image }

// commit makes an image of what a container has left, by the options of its start.
func (r *Run) commit(ctx context.Context) (err error) {
	o := *r.commitBy
	if o.Parent, err = r.e.images.Get(ctx, string(r.record.ImageID), nil); err != nil {
		return fmt.Errorf("commit container %s: %w", r.record.ShortID(), err)
	}
	r.image, err = r.e.commitChanges(ctx, r.record, &o)
	return err
}

// Scratch makes a folder in the engine's for files that are gone when release is called or the process ends, in that case with
// the next Open.
func (e *Engine) Scratch(ctx context.Context) (dir string, release func() error, err error) {
	l, err := e.scratch(ctx, "scratch-"+newID())
	if err != nil {
		return "", nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	return l.path, (&leavings{folders: []leaving{*l}}).delete, nil
}

// CacheVolumeLabel is the label of the volumes that are mounted by RUN --mount=type=cache.
const CacheVolumeLabel = "io.caisson.build.cache"

// PruneBuildCache deletes the images that are nothing but steps of builds, of which f, if it is not nil, chooses, and what no image needs
// then; and without f, the volumes with [CacheVolumeLabel] that no container uses.
func (e *Engine) PruneBuildCache(ctx context.Context, f *image.Filter) (*image.Removed, error) {
	removed, err := e.images.Prune(ctx, &image.PruneOptions{BuildCache: true, Filter: f, InUse: e.imageUser})
	if err != nil || f != nil {
		return removed, err
	}
	list, err := e.volumes.List()
	for _, v := range list {
		if _, ours := v.Labels[CacheVolumeLabel]; !ours {
			continue
		}
		usage, uerr := e.VolumeSize(ctx, v.Name)
		switch rerr := e.RemoveVolume(ctx, v.Name); {
		case rerr == nil && uerr == nil:
			removed.Bytes += usage
		case !errors.Is(rerr, fs.ErrExist) && !errors.Is(rerr, fs.ErrNotExist): // in use, or gone
			err = errors.Join(err, rerr)
		}
	}
	return removed, err
}

// BuildLock takes a lock that others who ask for one of the same name, which is a file's, wait for until ctx ends.
func (e *Engine) BuildLock(ctx context.Context, name string) (release func() error, err error) {
	if !validName(name) {
		return nil, invalid("invalid name of a lock: %q", name)
	}
	l, err := durable.Acquire(ctx, filepath.Join(e.dir, "containers", name+".lock"), true)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return l.Remove, nil
}
