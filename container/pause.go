package container

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/caisson-engine/caisson/cgroups"
)

// A setUps counts the commands that are on their way into a container. A process that stops in the middle of its set-up
// would hold up its Start, and on cgroup v1 even the undoing: so a pause waits for those that have begun, and none begins
// from then on.
type setUps struct {
	n       int
	pausing int
	none    chan struct{} // closed when n is 0; nil if nobody waits for that
}

// errPaused is why a command does not start.
var errPaused = errors.New("the container is paused: resume it first")

// errNoGroup is why a command does not start where the control group cannot be found: it would be outside of all limits.
var errNoGroup = fmt.Errorf("the container's control group is gone: %w", os.ErrNotExist)

// beginSetUp counts a command in, if the container is not paused. The caller holds groupMu.
func (c *Container) beginSetUp() error {
	if c.paused || c.setUps.pausing > 0 {
		return &StartError{Step: "enter control group", Path: "paused", Err: errPaused}
	}
	c.setUps.n++
	return nil
}

func (c *Container) endSetUp() {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	s := &c.setUps
	if s.n--; s.n == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
}

// awaitSetUps waits until no command is on its way in. None begins until release is called.
func (c *Container) awaitSetUps(ctx context.Context) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.groupMu.Lock()
	s := &c.setUps
	s.pausing++
	var none chan struct{}
	if s.n > 0 {
		if s.none == nil {
			s.none = make(chan struct{})
		}
		none = s.none
	}
	c.groupMu.Unlock()
	release = func() {
		c.groupMu.Lock()
		defer c.groupMu.Unlock()
		s.pausing--
	}
	if none == nil {
		return release, nil
	}
	select {
	case <-none:
		return release, nil
	case <-ctx.Done():
		release()
		return nil, context.Cause(ctx)
	}
}

// Pause holds all processes of the container, by the freezer of its control group. It waits for commands whose Start is
// under way; those that begin meanwhile get an error. ctx bounds how long it waits for these and for the processes to be
// held; when it ends first, they run on.
func (c *Container) Pause(ctx context.Context) error {
	release, err := c.awaitSetUps(ctx)
	if err != nil {
		return fmt.Errorf("container: pause %s: wait for commands that are being started: %w", c, err)
	}
	defer release()
	return c.withGroup("pause", func(g *cgroups.Group) error {
		if err := g.Freeze(ctx); err != nil {
			return errors.Join(err, g.Thaw())
		}
		c.paused = true
		return nil
	})
}

// Resume lets the processes go on after Pause.
func (c *Container) Resume() error {
	return c.withGroup("resume", func(g *cgroups.Group) error {
		if err := g.Thaw(); err != nil {
			return err
		}
		c.paused = false
		return nil
	})
}

// Paused says whether the container is paused.
func (c *Container) Paused() bool {
	c.groupMu.Lock()
	defer c.groupMu.Unlock()
	return c.paused
}

// wake resumes the container if it is paused.
func (c *Container) wake() {
	if c.Paused() {
		_ = c.Resume()
	}
}
