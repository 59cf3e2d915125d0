package engine

import (
	"context"
	"strings"
	"time"
)

// WaitHealthy waits until the health check of the running container that ref names says that it is well. What cannot become so is a
// [Conflict]: a container without a health check, one that does not run or has ended, and one that is unhealthy, with what the last probe
// has said. ctx bounds the waiting. The first probe comes after the check's Interval, which is 30 s by default (StartInterval during
// StartPeriod): for tests give it less.
func (e *Engine) WaitHealthy(ctx context.Context, ref string) error {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	for nap := 2 * time.Millisecond; ; nap = min(2*nap, 100*time.Millisecond) {
		switch h := c.State.Health; {
		case c.State.Status != Running:
			return conflict("container %s is not running: %s", c.Name, &c.State)
		case !c.Healthcheck.Probes():
			return conflict("container %s has no health check", c.Name)
		case h != nil && h.Status == Healthy:
			return nil
		case h != nil && h.Status == Unhealthy:
			return conflict("container %s is unhealthy: %s", c.Name, h.lastOutput())
		case !c.lives():
			return conflict("container %s has ended", c.Name) // which is not written down before Wait of its Run
		}
		if !sleep(ctx, nap) {
			return context.Cause(ctx)
		}
		if c, err = e.Inspect(ctx, c.ID); err != nil {
			return err
		}
	}
}

func (h *Health) lastOutput() string {
	if len(h.Log) == 0 {
		return "it has not said why"
	}
	return strings.TrimSpace(h.Log[len(h.Log)-1].Output)
}

// lives says whether the container's first process is there.
func (c *Container) lives() bool {
	p, err := c.process()
	if err == nil {
		_ = p.Release()
	}
	return err == nil
}
