package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/registry"
	"github.com/caisson-engine/caisson/volume"
)

// Options change how an engine works.
type Options struct {
	// Logger gets what is worth knowing and is no call's result: containers found dead, leavings swept. Nil is silent.
	Logger *slog.Logger
	// Client pulls from registries. Nil means the zero Client.
	Client *registry.Client
	// CgroupParent is the control group that those of containers are made in: an absolute path from the root of the
	// hierarchies, or one below the program's own group. It is made if it is missing. Empty means the program's own group,
	// or, where it can have none with limits below it since it has processes (cgroup v2, unless the program is in the
	// root group), "/caisson".
	CgroupParent string
	// CgroupManager is who makes the control groups: "cgroupfs", which empty stands for, is this program; with "systemd" each
	// container is a scope of systemd with its limits, caisson-ID.scope, of the system's or for an ordinary user of the user's own, and
	// CgroupParent is a slice ("machine.slice"; empty is system.slice, or what the user's systemd chooses). Where systemd cannot be
	// reached Start's error satisfies [cgroups.ErrNoSystemd].
	CgroupManager string
	// NoHelloWorld turns the carried registry off, so that hello-world comes from Docker Hub.
	NoHelloWorld bool
	// NetworkNamespace is the path of the network namespace in which bridges, rules and published ports are, in place of
	// the program's own: that of [network.Options].
	NetworkNamespace string
	// UserNetworks has networks in this process, by package network/usernet, in place of bridges of the host. For a program that
	// root does not run it is so anyway.
	UserNetworks bool
	// LayerFormat is how layers of images that are pulled, loaded or committed are kept; those that are there stay as they are.
	// An Open where it cannot be had fails.
	LayerFormat layer.Format
	// StartSupervisor starts a process that calls [Engine.Supervise] with the same folder and options, if none does, and returns when that
	// answers. It is called where a supervisor is needed: for the networks of detached containers, and in user mode of all containers
	// but those with StartOptions.Audit; for detached containers with a [RestartPolicy] or a health check; and by Open if there are such containers and their
	// supervisor was killed, or the machine was started again. Nil means that none is started: what needs one is refused, unless one is
	// there.
	StartSupervisor func(ctx context.Context) error
}

// An Engine is a complete container engine with its state in one folder. Its methods may be called by several
// goroutines, and several engines, in several processes, may share a folder.
type Engine struct {
	dir     string
	options Options
	log     *slog.Logger
	images  *image.Store
	volumes *volume.Store

	parentOnce, keptOnce sync.Once
	kept                 string // see keptParent
	parent               string // see cgroupParent

	networks *network.Store

	sandboxesMu sync.Mutex
	sandboxes   map[string]*network.Sandbox // of containers that this program runs in the foreground

	foreground sync.Map // of *[Run] by the container's ID: those in the foreground that have not ended

	supervisor atomic.Pointer[supervisor] // while this program is it
	patience   time.Duration              // askPatience

	bell bell // of events

	deleting sync.WaitGroup // files of what is out of sight already
}

// Open opens the engine whose state is in the folder dir, which is made if it is missing. Containers whose engine died are
// found and written down as such. What was half made, or half removed, is taken away, and its files are deleted while the
// engine is open. ctx bounds all of it.
func Open(ctx context.Context, dir string, o *Options) (*Engine, error) {
	if o == nil {
		o = &Options{}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open engine: %w", context.Cause(ctx))
	}
	// The stores below delete what killed pulls left, which can be a lot and knows no context.
	type opened struct {
		e   *Engine
		err error
	}
	c := make(chan opened, 1)
	go func() {
		e, err := open(ctx, dir, o)
		c <- opened{e, err}
	}()
	select {
	case r := <-c:
		if r.err != nil {
			return nil, fmt.Errorf("open engine: %w", r.err)
		}
		return r.e, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("open engine: %w", context.Cause(ctx))
	}
}

func open(ctx context.Context, dir string, o *Options) (*Engine, error) {
	if err := checkManager(o.CgroupManager); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, options: *o, log: o.Logger, patience: askPatience}
	if e.log == nil {
		e.log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	for _, d := range []string{"", "containers", "containers/names", "events", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if e.images, err = image.Open(dir); err != nil {
		return nil, err
	}
	if o.LayerFormat != layer.Folder {
		if err := e.images.Layers().Use(o.LayerFormat); err != nil {
			return nil, err
		}
	}
	if e.volumes, err = volume.Open(filepath.Join(dir, "volumes")); err != nil {
		return nil, err
	}
	e.networks, err = network.Open(filepath.Join(dir, "networks"), networkOptions(o))
	if err != nil {
		return nil, err
	}
	if err := e.sweep(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close releases what the engine holds, and waits until the files of what was removed are deleted; what is not by the end
// of the process the next Open deletes. Containers that were started must have been waited for.
func (e *Engine) Close() error {
	e.deleting.Wait()
	return e.networks.Close()
}

// Root returns the folder that the engine's state is in.
func (e *Engine) Root() string { return e.dir }

// lock takes the lock under which containers are made and removed. It is held briefly: no file of a container, a volume or
// an image is deleted under it.
func (e *Engine) lock(ctx context.Context) (*durable.Lock, error) {
	return durable.Acquire(ctx, e.lockPath(), true)
}

func (e *Engine) lockPath() string { return filepath.Join(e.dir, "containers", "lock") }
