package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// Explain returns what would be done to run a container with the configuration: lines that begin with "# " say what would be
// made on disk, the others are the program of system calls by which the container would be started. Nothing is started, and
// nothing on disk is changed.
func (e *Engine) Explain(ctx context.Context, cfg *Config) (_ string, err error) {
	c, img, err := e.prepare(ctx, cfg)
	if err != nil {
		return "", fmt.Errorf("explain container: %w", err)
	}
	if cfg.Name != "" {
		if c.Name, err = e.freeName(cfg.Name); err != nil {
			return "", fmt.Errorf("explain container: %w", err)
		}
	}
	release, err := e.images.Hold(ctx, img)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	o := &layer.MountOptions{ReadOnly: true, NoKeep: true, UIDMappings: c.UIDMappings, GIDMappings: c.GIDMappings}
	if c.keepsIDs() { // no copy is made only to be looked at
		o.UIDMappings, o.GIDMappings = nil, nil
	}
	root, err := layer.Mount(ctx, img.Layers, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	made, err := e.intent(c, root)
	if err != nil {
		return "", err
	}
	listing, err := e.listing(ctx, c, root)
	return made + listing, err
}

// listing returns the program of a container. The files for /etc are made for it, out of sight: how something is bound
// depends on whether it is a file.
func (e *Engine) listing(ctx context.Context, c *Container, root *namespace.Root) (_ string, err error) {
	etc, err := e.scratch(ctx, c.ID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(etc.path), etc.lock.Close()) }()
	if err := c.writeEtc(etc.path); err != nil {
		return "", err
	}
	run := &Run{e: e, record: c}
	defer func() { err = errors.Join(err, run.release(ctx)) }()
	built, err := c.build(root, &sources{
		etc: etc.path, volume: func(m *Mount) (*volumeSource, error) { return run.volumeOf(ctx, m) },
		image: func(m *Mount) (*namespace.Root, error) { return run.useImage(ctx, m) },
	})
	if err != nil {
		return "", err
	}
	built.Stdin, built.Stdout = os.Stdin, os.Stdout
	program, err := built.Program()
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(program.String(), etc.path, e.path(c.ID)), nil
}

// intent says what would be made on disk for a container.
func (e *Engine) intent(c *Container, root *namespace.Root) (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "# "+format+"\n", args...) }
	line("make the folder %s: container.json, upper, work, hosts, hostname, resolv.conf", e.path(c.ID))
	if c.Config.CgroupManager == systemd {
		line("have systemd make the scope caisson-%s.scope in %s", c.ShortID(), cmp.Or(c.Config.CgroupParent, "its slice for such"))
	}
	for _, m := range c.Mounts {
		switch m.Type {
		case "volume":
			if _, err := e.volumes.Get(m.Source); errors.Is(err, volume.ErrNotFound) {
				line("make the volume %s", m.Source)
			} else if err != nil {
				return "", err
			}
		case "bind":
			switch _, err := os.Stat(m.Source); {
			case errors.Is(err, fs.ErrNotExist) && m.MakeSource:
				line("make the folder %s", m.Source)
			case errors.Is(err, fs.ErrNotExist):
				return "", missingSource(m.Source)
			case err != nil:
				return "", err
			}
		}
	}
	switch f, err := root.OpenFolder(c.Dir); {
	case err == nil:
		return b.String(), f.Close()
	case errors.Is(err, fs.ErrNotExist):
		line("make the folder %s in the container", c.Dir)
	default:
		return "", err
	}
	return b.String(), nil
}

// volumeOf returns a mount's volume, or what it would be. One that is a file system of its own is mounted, as an image is.
func (r *Run) volumeOf(ctx context.Context, m *Mount) (*volumeSource, error) {
	v, err := r.e.volumes.Get(m.Source)
	switch {
	case errors.Is(err, volume.ErrNotFound):
		v, err = r.e.volumes.Planned(m.Source), nil
	case err == nil && v.Mount.Foreign():
		return r.useVolume(ctx, m)
	}
	return &volumeSource{Volume: v}, err
}
