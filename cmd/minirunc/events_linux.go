package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
)

var eventsVerb = verb{
	name: "events", args: "[options] CONTAINER-ID",
	about: "print what a container uses, and when it is out of memory",
	run:   (*command).events,
}

func (c *command) events(args []string) error {
	f := c.flags("events")
	interval := f.Duration("interval", 5*time.Second, "how often to print what is used")
	once := f.Bool("stats", false, "print that once")
	if err := c.parse(f, args, 1, 1); err != nil {
		return err
	}
	k, err := c.open(f.Arg(0))
	if err != nil {
		return err
	}
	if *interval <= 0 {
		return errors.New("duration interval must be greater than 0")
	}
	status, err := k.status()
	if err != nil {
		return err
	}
	if status == specs.StateStopped {
		return fmt.Errorf("container with id %s is not running", k.ID)
	}
	if *once {
		return k.printStats(json.NewEncoder(c.stdout))
	}
	return k.follow(*interval)
}

func (k *container) printStats(out *json.Encoder) error {
	s, err := readStats(k.CgroupPaths)
	if err != nil {
		return fmt.Errorf("unable to get container cgroup stats: %w", err)
	}
	return out.Encode(&cgroupEvent{Type: "stats", ID: k.ID, Data: s})
}

// follow prints events until the container has ended.
func (k *container) follow(interval time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := errors.New("the container has ended")
	go func() {
		if k.Wait(ctx) == nil {
			cancel(ended)
		}
	}()
	out := json.NewEncoder(k.c.stdout)
	ooms, failed := make(chan uint64), make(chan error, 1)
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		failed <- k.withGroup(func(g *cgroups.Group) error {
			return watchOOM(ctx, g, func(n uint64) {
				select {
				case ooms <- n:
				case <-quit:
				}
			})
		})
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case n := <-ooms:
			for range n {
				if err := out.Encode(&cgroupEvent{Type: "oom", ID: k.ID}); err != nil {
					return err
				}
			}
		case <-tick.C:
			if err := k.printStats(out); err != nil && ctx.Err() == nil {
				if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
					return err
				}
				k.c.logf("error", "%v", err)
			}
		case err := <-failed:
			if ctx.Err() != nil || errors.Is(err, errNoGroup) {
				err = nil
			}
			return err
		}
	}
}

// watchOOM tells how often the OOM killer has struck, from now on, until the group is removed or ctx ends: what it did until
// then too, since that may be what has ended the container.
func watchOOM(ctx context.Context, g *cgroups.Group, tell func(n uint64)) error {
	before, err := g.OOMKills()
	if errors.Is(err, errors.ErrUnsupported) {
		<-ctx.Done()
		return nil
	}
	if err != nil {
		return err
	}
	w, err := g.Watch()
	if err != nil {
		return err
	}
	defer w.Close()
	upTo := func(n uint64) {
		if n > before {
			tell(n - before)
			before = n
		}
	}
	for {
		e, err := w.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			if n, err := g.OOMKills(); err == nil {
				upTo(n)
			}
			return nil
		case err != nil:
			return err
		case e.Kind == cgroups.OOMKill:
			upTo(e.Count)
		}
	}
}
