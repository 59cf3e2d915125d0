package container

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// A Pool has containers ready whose set-up is done but for the command: control group, namespaces and mounts are made, and
// a process of a few pages waits in them. [Pool.Get] takes one out; its Start then takes little more than the execution of
// the command. Each is used for one container and is never given back.
//
// An ordinary user's program has pools too, and containers may be in user namespaces, new or joined.
//
// The zero value but for New is ready to use. A Pool is safe for use by several goroutines. Its containers end with the
// host program, as others do.
type Pool struct {
	// New returns a container to be set up, one that is another each time: with its root file system, mounts,
	// namespaces and limits. Required. It is called in the background, one call at a time, and by Get when none is ready. ctx
	// ends when the pool is closed, or is Get's.
	New func(ctx context.Context) (*Container, error)
	// Size is how many containers the pool holds when it is full, each of them some 60 KB of memory, a control group, a
	// network namespace and three descriptors. Zero means twice the number of processors. At most 1024. When half of them
	// are gone, it is filled again.
	Size int

	mu      sync.Mutex
	ready   []*Container
	filling bool
	closed  bool
	stop    context.CancelFunc // of the filling that is under way
	idle    sync.WaitGroup     // filling, and clearing away

	ended    []*Container // to be cleared away
	clearing bool
	errs     []error // what went wrong with it, for Close
}

// maxPoolSize bounds Size.
const maxPoolSize = 1024

// ErrPoolClosed is returned by Get and Fill when the pool was closed.
var ErrPoolClosed = errors.New("container: the pool is closed")

func (p *Pool) size() (int, error) {
	switch {
	case p.New == nil:
		return 0, wrong("Pool.New", "there is no function that makes containers")
	case p.Size < 0 || p.Size > maxPoolSize:
		return 0, wrong("Pool.Size", "%d is not between 0 and %d", p.Size, maxPoolSize)
	case p.Size == 0:
		return min(2*runtime.NumCPU(), maxPoolSize), nil
	}
	return p.Size, nil
}

// Get returns a container that is set up, or sets one up if none is ready; ctx bounds that. The fields of its Process
// may be set: Args, Env, Dir, User, standard files, TTY and so on, but not OOMScoreAdj nor the Attributes that are set
// early, CPUAffinity and the labels. Setup, which Start calls, and what concerns seccomp may be set too. Other fields have taken effect, and Start
// refuses a container where one was changed. A Get is to be followed by Start, Run or their kin, or by [Container.Close].
// The container's Root is the caller's to close, as that of others is. Its control group may be there a moment longer than
// Wait: the pool removes it.
func (p *Pool) Get(ctx context.Context) (*Container, error) {
	if _, err := p.size(); err != nil {
		return nil, err
	}
	for {
		c, err := p.take()
		if err != nil {
			return nil, err
		}
		if c == nil {
			return p.make(ctx)
		}
		if c.held.Alive() {
			return c, nil
		}
		p.discard(c) // somebody has killed it
	}
}

// take takes a container out, nil if there is none, and has the pool filled in the background if few are left.
func (p *Pool) take() (c *Container, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrPoolClosed
	}
	if len(p.ready) > 0 {
		c = p.ready[0] // the oldest one: it has been looked at least recently
		p.ready = append(p.ready[:0], p.ready[1:]...)
	}
	if size, _ := p.size(); !p.filling && len(p.ready) <= size/2 {
		p.filling = true
		ctx, stop := context.WithCancel(context.Background())
		p.stop = stop
		p.idle.Go(func() {
			defer stop()
			_ = p.fill(ctx) // an error comes again in a Get that finds the pool empty
			p.mu.Lock()
			defer p.mu.Unlock()
			p.filling = false
		})
	}
	return c, nil
}

// Fill sets up containers until Size are ready, or ctx ends. It need not be called: Get begins to fill the pool too, in the
// background.
func (p *Pool) Fill(ctx context.Context) error {
	if _, err := p.size(); err != nil {
		return err
	}
	return p.fill(ctx)
}

func (p *Pool) fill(ctx context.Context) error {
	size, err := p.size()
	for err == nil {
		p.mu.Lock()
		full, closed := len(p.ready) >= size, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return ErrPoolClosed
		case full:
			return nil
		}
		var c *Container
		if c, err = p.make(ctx); err == nil && !p.put(c, size) {
			p.discard(c)
		}
	}
	return err
}

// put takes the container in if there is room.
func (p *Pool) put(c *Container, size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.ready) >= size {
		return false
	}
	p.ready = append(p.ready, c)
	return true
}

func (p *Pool) make(ctx context.Context) (*Container, error) {
	c, err := p.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("container: make one for the pool: %w", err)
	}
	if c == nil {
		return nil, wrong("Pool.New", "it returned neither a container nor an error")
	}
	if err := c.hold(ctx); err != nil {
		return nil, errors.Join(err, closeRoot(c))
	}
	c.pool = p
	return c, nil
}

// maxPoolErrors bounds the errors that Close returns.
const maxPoolErrors = 10

// clear removes the control group of a container that has ended, in the background: that takes about as long as the whole
// start. It says whether it will: not when the pool is closed.
func (p *Pool) clear(c *Container) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.ended = append(p.ended, c)
	if p.clearing {
		return true
	}
	p.clearing = true
	p.idle.Go(func() {
		for {
			p.mu.Lock()
			if len(p.ended) == 0 {
				p.clearing = false
				p.mu.Unlock()
				return
			}
			c := p.ended[0]
			p.ended = p.ended[1:]
			p.mu.Unlock()
			if err := errors.Join(c.removeGroup(), c.ward.Release()); err != nil {
				p.mu.Lock()
				if len(p.errs) < maxPoolErrors {
					p.errs = append(p.errs, fmt.Errorf("container: take down %s: %w", c, err))
				}
				p.mu.Unlock()
			}
		}
	})
	return true
}

// discard undoes a container that nobody has got.
func (p *Pool) discard(c *Container) error { return errors.Join(c.Close(), closeRoot(c)) }

func closeRoot(c *Container) error {
	if c.Root == nil {
		return nil
	}
	return c.Root.Close()
}

// Ready returns how many containers are ready.
func (p *Pool) Ready() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready)
}

// Close ends the filling and undoes the containers that are ready, and closes their roots. It returns when the control
// groups of those that have ended are removed. Others that Get has returned are the caller's. A second Close does nothing.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.stop != nil {
		p.stop()
	}
	p.mu.Unlock()
	p.idle.Wait()
	p.mu.Lock()
	ready, errs := p.ready, p.errs
	p.ready, p.errs = nil, nil
	p.mu.Unlock()
	for _, c := range ready {
		errs = append(errs, p.discard(c))
	}
	return errors.Join(errs...)
}
