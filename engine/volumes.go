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

// RemoveVolume removes a volume. One that a container names, running or not, is a [Conflict].
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	l, err := e.lock(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	user, err := e.volumeUser(name)
	if err != nil {
		return err
	}
	if user != "" {
		return conflict("remove %s: volume is in use - [%s]", name, user)
	}
	err = e.volumes.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("get %s: no such volume", name)
	}
	return err
}

// volumeUser returns the ID of a container that names the volume, or "". The caller holds the engine's lock.
func (e *Engine) volumeUser(name string) (string, error) {
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		c, err := readRecord(e.path(id))
		if err != nil {
			continue
		}
		for _, m := range c.Mounts {
			if m.Type == "volume" && m.Source == name {
				return id, nil
			}
		}
	}
	return "", nil
}

// removeVolumes removes the volumes that were made for the container, but for those that another one names. The caller
// holds the engine's lock, and the container is out of sight.
func (e *Engine) removeVolumes(c *Container) {
	for _, name := range c.AnonymousVolumes {
		user, err := e.volumeUser(name)
		if err == nil && user == "" {
			err = e.volumes.Remove(name)
		}
		if user != "" || err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Info("volume is kept", "volume", name, "user", user, "error", err)
		}
	}
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
