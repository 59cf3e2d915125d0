package dockerapi

import (
	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/engine"
)

// healthOf is State.Health, which is not there without a health check.
func healthOf(h *engine.Health) *container.Health {
	if h == nil {
		return nil
	}
	to := &container.Health{Status: container.HealthStatus(h.Status), FailingStreak: h.FailingStreak, Log: []*container.HealthcheckResult{}}
	for _, r := range h.Log {
		to.Log = append(to.Log, &container.HealthcheckResult{Start: r.Start, End: r.End, ExitCode: r.ExitCode, Output: r.Output})
	}
	return to
}

// healthStatus is the word that filters have.
func healthStatus(c *engine.Container) container.HealthStatus {
	if c.State.Health == nil {
		return container.NoHealthcheck
	}
	return container.HealthStatus(c.State.Health.Status)
}
