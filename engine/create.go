package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// Create makes a container, which [Engine.Start] can start. ctx bounds the waiting for others who make or remove one.
func (e *Engine) Create(ctx context.Context, cfg *Config) (*Container, error) {
	c, err := e.create(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("create container: %w", err)
	}
	return c, nil
}

func (e *Engine) create(ctx context.Context, cfg *Config) (_ *Container, err error) {
	c, img, err := e.prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	// Until the container's document is in its place, this keeps the image.
	release, err := e.images.Hold(ctx, img)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	l, err := e.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if c.Name, err = e.claimName(cfg.Name, c.ID); err != nil {
		return nil, err
	}
	tmp := filepath.Join(e.dir, "tmp", c.ID)
	defer func() {
		if err != nil {
			// Nothing was written into it: these are a few files.
			made := &leavings{volumes: e.unlinkVolumes(c)}
			err = errors.Join(err, made.delete(), e.releaseName(c.Name, c.ID), os.RemoveAll(tmp), os.RemoveAll(e.path(c.ID)))
		}
	}()
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	// The document is written first: it names the volumes, so that the sweep finds them after a crash.
	if err := durable.WriteJSON(filepath.Join(tmp, "container.json"), c, 0o600); err != nil {
		return nil, err
	}
	if err := e.makeVolumes(c); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, e.path(c.ID)); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Join(e.dir, "containers")); err != nil {
		return nil, err
	}
	e.note("create", c)
	return c, nil
}

// prepare works out what a container with the configuration would be. It touches nothing.
func (e *Engine) prepare(ctx context.Context, cfg *Config) (*Container, *image.Image, error) {
	img, err := e.ImageFor(ctx, cfg.Image, cfg.Platform)
	if err != nil {
		return nil, nil, err
	}
	c := &Container{
		ID: newID(), Created: time.Now().UTC(), Config: *cfg, ImageID: img.ID, State: State{Status: Created},
		Hostname: cfg.Hostname,
	}
	if cfg.Network == "host" && c.Hostname == "" {
		if c.Hostname, err = os.Hostname(); err != nil {
			return nil, nil, err
		}
	}
	if err := cfg.checkNames(); err != nil {
		return nil, nil, err
	}
	if err := cfg.checkEgress(); err != nil {
		return nil, nil, err
	}
	if err := cfg.checkRestart(); err != nil {
		return nil, nil, err
	}
	if err := e.mergeHealthcheck(c, img); err != nil {
		return nil, nil, err
	}
	if err := e.prepareManager(&c.Config); err != nil {
		return nil, nil, err
	}
	if err := e.resolveModes(&c.Config); err != nil {
		return nil, nil, err
	}
	if err := e.prepareNetwork(ctx, c, img.Config.Config.ExposedPorts); err != nil {
		return nil, nil, err
	}
	if c.Hostname == "" {
		c.Hostname = c.ShortID()
	}
	if err := c.hostName(); err != nil {
		return nil, nil, err
	}
	if err := c.merge(&img.Config.Config); err != nil {
		return nil, nil, err
	}
	if err := c.mapUsers(); err != nil {
		return nil, nil, err
	}
	others, err := e.mountsOf(ctx, cfg.VolumesFrom)
	if err != nil {
		return nil, nil, err
	}
	if err := c.mergeMounts(others, img.Config.Config.Volumes); err != nil {
		return nil, nil, err
	}
	for i := range c.Mounts {
		if m := &c.Mounts[i]; m.Type == "image" {
			mounted, err := e.ImageFor(ctx, m.Source, "")
			if err != nil {
				return nil, nil, err
			}
			m.ImageID = mounted.ID
		}
	}
	if _, err := c.Config.logSize(); err != nil {
		return nil, nil, err
	}
	// What would be refused at the start is refused now, before a name is taken and anything made.
	if len(c.Args) > 0 {
		try, err := c.container(namespace.Dir("/"))
		if err == nil {
			err = try.Check()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return c, img, nil
}

// makeVolumes makes the volumes that the container names and are not there, and the missing sources of its binds.
func (e *Engine) makeVolumes(c *Container) error {
	for _, m := range c.Mounts {
		switch m.Type {
		case "volume":
			o := &volume.CreateOptions{}
			if m.Create != nil {
				*o = *m.Create
			}
			o.Anonymous = slices.Contains(c.AnonymousVolumes, m.Source)
			switch _, err := e.volumes.Create(m.Source, o); {
			case err == nil:
				e.Note(VolumeEvent, "create", m.Source, map[string]string{"driver": "local"})
			case !errors.Is(err, fs.ErrExist):
				return err
			}
		case "bind":
			_, err := os.Stat(m.Source)
			if errors.Is(err, fs.ErrNotExist) && m.MakeSource {
				err = os.MkdirAll(m.Source, 0o755)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return missingSource(m.Source)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func missingSource(path string) error {
	return invalid("invalid mount config for type \"bind\": bind source path does not exist: %s", path)
}
