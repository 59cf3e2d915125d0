package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// Leavings are what nobody can see any more and is still on disk. Deleting them can take long, and needs no lock.
type leavings struct {
	folders []leaving
	volumes []*volume.Unlinked
}

// A leaving is a folder below tmp. Its lock tells others that somebody deletes it.
type leaving struct {
	path string
	lock *durable.Lock
}

func (l *leavings) delete() error {
	var errs []error
	for _, v := range l.volumes {
		errs = append(errs, v.Delete())
	}
	for _, f := range l.folders {
		errs = append(errs, namespace.RemoveAll(f.path), f.lock.Close())
	}
	return errors.Join(errs...)
}

// delete deletes the leavings. ctx bounds the waiting: the deletion goes on while the engine is open.
func (e *Engine) delete(ctx context.Context, l *leavings) error {
	done := make(chan error, 1)
	e.deleting.Go(func() { done <- l.delete() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("delete files: %w", context.Cause(ctx))
	}
}

// deleteLater deletes the leavings while the engine is open.
func (e *Engine) deleteLater(l *leavings) {
	if len(l.folders)+len(l.volumes) == 0 {
		return
	}
	e.deleting.Go(func() {
		if err := l.delete(); err != nil {
			e.log.Warn("what was removed could not be deleted", "error", err)
		}
	})
}

// scratch makes a folder below tmp that no sweep takes.
func (e *Engine) scratch(ctx context.Context, name string) (*leaving, error) {
	l, err := e.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	path := filepath.Join(e.dir, "tmp", name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	lock, held, err := durable.TryAcquireDir(path)
	if err == nil && held {
		err = errors.New("a new folder is locked")
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &leaving{path, lock}, nil
}
