package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/registry"
	"github.com/caisson-engine/caisson/volume"
)

// Options change how an engine works.
type Options struct {
	// Logger gets what is worth knowing and is no call's result: containers found dead, leavings swept. Nil is silent.
	Logger *slog.Logger
	// Client pulls from registries. Nil means the zero Client.
	Client *registry.Client
	// NoHelloWorld turns the carried registry off, so that hello-world comes from Docker Hub.
	NoHelloWorld bool
}

// An Engine is a complete container engine with its state in one folder. Its methods may be called by several
// goroutines, and several engines, in several processes, may share a folder.
type Engine struct {
	dir     string
	options Options
	log     *slog.Logger
	images  *image.Store
	volumes *volume.Store
}

// Open opens the engine whose state is in the folder dir, which is made if it is missing. Containers whose engine died are
// found and written down as such, and what was half made is removed.
func Open(dir string, o *Options) (*Engine, error) {
	if o == nil {
		o = &Options{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	e := &Engine{dir: dir, options: *o, log: o.Logger}
	if e.log == nil {
		e.log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	for _, d := range []string{"", "containers", "containers/names", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("open engine: %w", err)
		}
	}
	if e.images, err = image.Open(dir); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if e.volumes, err = volume.Open(filepath.Join(dir, "volumes")); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if err := e.sweep(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("open engine: %w", err), e.Close())
	}
	return e, nil
}

// Close releases what the engine holds. Containers that were started must have been waited for.
func (e *Engine) Close() error { return nil }

// Root returns the folder that the engine's state is in.
func (e *Engine) Root() string { return e.dir }

// lock takes the lock under which containers are made and removed. It is held briefly.
func (e *Engine) lock(ctx context.Context) (*durable.Lock, error) {
	return durable.Acquire(ctx, filepath.Join(e.dir, "containers", "lock"), true)
}
