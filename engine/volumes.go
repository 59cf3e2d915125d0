package engine

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/caisson-engine/caisson/volume"
)

// Volumes returns the store of the engine's volumes.
func (e *Engine) Volumes() *volume.Store { return e.volumes }

// CreateVolume makes a volume, with a random name if it is empty, and returns its name. One that is there stays as it is.
func (e *Engine) CreateVolume(name string, o *volume.CreateOptions) (string, error) {
	v, err := e.volumes.Create(name, o)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return cmp.Or(v.Name, name), nil
}

// RemoveVolume removes a volume. One that a container names, running or not, is a [Conflict]. When ctx ends while files
// are being deleted, the volume is removed nevertheless, and the rest is deleted while the engine is open, or by the next
// Open.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	v, err := e.unlinkVolume(ctx, name)
	if err != nil {
		return err
	}
	return e.delete(ctx, &leavings{volumes: []*volume.Unlinked{v}})
}

func (e *Engine) unlinkVolume(ctx context.Context, name string) (*volume.Unlinked, error) {
	l, err := e.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	user, err := e.volumeUser(name)
	if err != nil {
		return nil, err
	}
	if user != "" {
		return nil, conflict("remove %s: volume is in use - [%s]", name, user)
	}
	v, err := e.volumes.Unlink(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound("get %s: no such volume", name)
	}
	return v, err
}

// volumeUser returns the ID of a container that names the volume, or "". The caller holds the engine's lock.
func (e *Engine) volumeUser(name string) (string, error) {
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		c, err := readRecord(e.path(id))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return id, nil // for all that is known
		}
		for _, m := range c.Mounts {
			if m.Type == "volume" && m.Source == name {
				return id, nil
			}
		}
	}
	return "", nil
}

// unlinkVolumes takes the volumes that were made for the container out of sight, but for those that another one names. The
// caller holds the engine's lock, and the container is out of sight.
func (e *Engine) unlinkVolumes(c *Container) (unlinked []*volume.Unlinked) {
	for _, name := range c.AnonymousVolumes {
		user, err := e.volumeUser(name)
		if err == nil && user == "" {
			var v *volume.Unlinked
			if v, err = e.volumes.Unlink(name); err == nil {
				unlinked = append(unlinked, v)
			}
		}
		if user != "" || err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Info("volume is kept", "volume", name, "user", user, "error", err)
		}
	}
	return unlinked
}

// useVolume takes a volume into use for the run, gives it the image's content if it is empty, and returns its folder.
func (r *Run) useVolume(ctx context.Context, m *Mount) (string, error) {
	use, err := r.e.volumes.Acquire(m.Source)
	if err != nil {
		return "", err
	}
	r.held = append(r.held, use)
	v, err := r.e.volumes.Get(m.Source)
	if err != nil {
		return "", err
	}
	if !m.NoCopy {
		err = r.e.volumes.Populate(ctx, m.Source, r.root, m.Target)
	}
	return v.Path, err
}
