package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caisson-engine/caisson/internal/durable"
)

const maxRecord = 16 << 20

func (e *Engine) path(id string, elem ...string) string {
	return filepath.Join(append([]string{e.dir, "containers", id}, elem...)...)
}

// readRecord reads the document of the container in the folder.
func readRecord(dir string) (*Container, error) {
	c := &Container{}
	if err := durable.ReadJSON(filepath.Join(dir, "container.json"), maxRecord, c); err != nil {
		return nil, err
	}
	return c, nil
}

// write keeps the document. Once the container's folder is in place, only the holder of its lock calls it.
func (e *Engine) write(c *Container) error {
	kept := *c
	kept.State.Paused, kept.State.Health = false, nil
	return durable.WriteJSON(e.path(c.ID, "container.json"), &kept, 0o600)
}

// load reads a container, and if it is said to run but its engine is dead, writes that down first.
func (e *Engine) load(ctx context.Context, id string) (*Container, error) {
	c, err := e.loadRecord(ctx, id)
	if err == nil {
		c.State.Health = e.health(c)
	}
	return c, err
}

func (e *Engine) loadRecord(ctx context.Context, id string) (*Container, error) {
	c, err := readRecord(e.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound("No such container: %s", id)
	}
	if err != nil || c.State.Status != Running {
		return c, err
	}
	l, held, err := durable.TryAcquire(e.path(id, "lock"), true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound("No such container: %s", id)
	}
	if err != nil || held {
		c.State.Paused = err == nil && frozen(c.State.Cgroups)
		return c, err
	}
	defer l.Close()
	return e.reread(ctx, id) // its engine may have finished between the reading and the locking
}

// reread reads a container whose lock the caller holds, and which therefore does not run: one that is said to ended with
// its engine, and that is written down.
func (e *Engine) reread(ctx context.Context, id string) (*Container, error) {
	c, err := readRecord(e.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound("No such container: %s", id)
	}
	if err != nil || c.State.Status != Running {
		return c, err
	}
	if err := e.bury(ctx, c); err != nil {
		return nil, err
	}
	if c.Config.AutoRemove {
		return nil, notFound("No such container: %s", id)
	}
	return c, nil
}

// ids lists the containers' IDs.
func (e *Engine) ids() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(e.dir, "containers"))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() && isID(entry.Name()) {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// resolve finds the ID of the container that ref names: by its name, its ID or the beginning of its ID.
func (e *Engine) resolve(ref string) (string, error) {
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	name := e.claimant(strings.TrimPrefix(ref, "/"))
	var found []string
	for _, id := range ids {
		if id == ref {
			return id, nil
		}
		if id == name {
			return id, nil
		}
		if isHex(ref) && strings.HasPrefix(id, ref) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", notFound("No such container: %s", ref)
	case 1:
		return found[0], nil
	}
	return "", invalid("Multiple IDs found with provided prefix: %s", ref)
}

// Inspect returns the container that ref names: a name, an ID, or the beginning of an ID.
func (e *Engine) Inspect(ctx context.Context, ref string) (*Container, error) {
	id, err := e.resolve(ref)
	if err != nil {
		return nil, err
	}
	return e.load(ctx, id)
}
