package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// Volumes returns the store of the engine's volumes.
func (e *Engine) Volumes() *volume.Store { return e.volumes }

// CreateVolume makes a volume, with a random name if it is empty, and returns its name. One that is there stays as it is.
func (e *Engine) CreateVolume(name string, o *volume.CreateOptions) (string, error) {
	v, err := e.volumes.Create(name, o)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", volumeError("", name, err)
	}
	if err == nil {
		e.Note(VolumeEvent, "create", v.Name, map[string]string{"driver": "local"})
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
	user, err := e.VolumeUser(name)
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
	if err == nil {
		e.Note(VolumeEvent, "destroy", name, map[string]string{"driver": "local"})
	}
	return v, err
}

// VolumeUser returns the ID of a container that names the volume, running or not, or "". It holds for as long as the
// caller holds the engine's lock, and else for that moment.
func (e *Engine) VolumeUser(name string) (string, error) {
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
		user, err := e.VolumeUser(name)
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

// useImage mounts an image's file system for the run, which nobody can write to.
func (r *Run) useImage(ctx context.Context, m *Mount) (*namespace.Root, error) {
	if r.record.keepsIDs() {
		return nil, invalid("an image at %s does not go with user namespace mode %s: its files have other owners there", m.Target, r.record.Config.UserMode)
	}
	img, err := r.e.images.Get(ctx, string(m.ImageID), nil)
	if err != nil {
		return nil, err
	}
	release, err := r.e.images.Hold(ctx, img)
	if err != nil {
		return nil, err
	}
	r.held = append(r.held, closer(release))
	root, err := layer.Mount(ctx, img.Layers, &layer.MountOptions{
		ReadOnly: true, NoKeep: true, UIDMappings: r.record.UIDMappings, GIDMappings: r.record.GIDMappings,
	})
	if err == nil {
		r.held = append(r.held, root)
	}
	return root, err
}

// CloneVolume makes a volume with a copy of another one's content; see [volume.Store.Clone].
func (e *Engine) CloneVolume(ctx context.Context, from, name string, o *volume.CreateOptions) (volume.Volume, error) {
	v, err := e.volumes.Clone(ctx, from, name, o)
	return v, volumeError(from, name, err)
}

// ExportVolume writes a volume's content as a tar stream, as [layer.Archive] does. Containers that use the volume go on.
func (e *Engine) ExportVolume(ctx context.Context, name string, w io.Writer) error {
	use, err := e.volumes.Acquire(name)
	if err != nil {
		return volumeError(name, "", err)
	}
	dir, err := use.Volume.Folder()
	if err != nil {
		return errors.Join(volumeError(name, "", err), use.Close())
	}
	if err := layer.Archive(ctx, w, dir); err != nil {
		return errors.Join(fmt.Errorf("export volume %s: %w", name, err), use.Close())
	}
	return use.Close()
}

// ImportVolume makes a volume with the content of a tar stream, plain or compressed by gzip or zstd. The stream is taken as
// hostile, as a layer's is; see [layer.Store.Extract].
func (e *Engine) ImportVolume(ctx context.Context, name string, r io.Reader, o *volume.CreateOptions) (_ volume.Volume, err error) {
	if name != "" {
		if err := volume.CheckName(name); err != nil {
			return volume.Volume{}, &Error{Kind: Invalid, Message: "import", Err: err}
		}
	}
	tmp, err := e.scratch(ctx, newID())
	if err != nil {
		return volume.Volume{}, err
	}
	defer func() { err = errors.Join(err, namespace.RemoveAll(tmp.path), tmp.lock.Close()) }()
	layers, err := layer.Open(tmp.path)
	if err != nil {
		return volume.Volume{}, err
	}
	content, err := layers.Add(ctx, r, nil)
	if err != nil {
		return volume.Volume{}, fmt.Errorf("import volume %s: %w", name, err)
	}
	v, err := e.volumes.CreateFrom(ctx, name, o, content.Dir)
	return v, volumeError("", name, err)
}

// PruneVolumes removes the volumes that no container names, by default anonymous ones only, and returns them.
func (e *Engine) PruneVolumes(ctx context.Context, o *volume.PruneOptions) (removed []volume.Volume, err error) {
	if o == nil {
		o = &volume.PruneOptions{}
	}
	all, err := e.volumes.List() // one that cannot be read is not pruned
	for _, v := range all {
		if !v.Anonymous && !o.All || o.Keep != nil && o.Keep(v) {
			continue
		}
		var e1 *Error
		switch e0 := e.RemoveVolume(ctx, v.Name); {
		case e0 == nil:
			removed = append(removed, v)
		case errors.As(e0, &e1), errors.Is(e0, volume.ErrInUse):
		default:
			err = errors.Join(err, e0)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return removed, err
}

// volumeError says of a volume's error what kind it is.
func volumeError(from, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, volume.ErrNotFound):
		return notFound("get %s: no such volume", from)
	case errors.Is(err, volume.ErrExists):
		return conflict("volume %s exists already", name)
	case errors.Is(err, volume.ErrName), errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrInvalid):
		return &Error{Kind: Invalid, Message: "volume", Err: err}
	}
	return err
}

// useVolume takes a volume into use for the run, and gives it the image's content if it is empty.
func (r *Run) useVolume(ctx context.Context, m *Mount) (*volumeSource, error) {
	use, err := r.e.volumes.Acquire(m.Source)
	if err != nil {
		return nil, err
	}
	r.held = append(r.held, use)
	v := &volumeSource{Volume: use.Volume}
	if v.Mount.Foreign() {
		return v, r.attachVolume(ctx, use, v)
	}
	if v.Mount != nil && v.Mount.Type == "bind" {
		if _, err := os.Stat(v.Path); err != nil {
			return v, &Error{Kind: Invalid, Message: "failed to mount local volume " + v.Name, Err: err}
		}
	}
	if !m.NoCopy {
		err = r.populate(ctx, m)
	}
	return v, err
}

// attachVolume mounts a volume that is a file system of its own.
func (r *Run) attachVolume(ctx context.Context, use *volume.Use, v *volumeSource) error {
	attach, err := use.Mount(ctx)
	if err != nil {
		return fmt.Errorf("error while mounting volume '%s': %w", v.Name, err)
	}
	r.held = append(r.held, attach.Root)
	v.attach = &attach
	return nil
}
