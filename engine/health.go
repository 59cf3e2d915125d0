package engine

import (
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
)

// Health is what the health check of a container ([Config].Healthcheck) has found since its last start. The check is executed by the program
// that runs the container, or for one that was started with StartOptions.Detach by the supervisor: see [Engine.Supervise].
// While the container is paused it is not, and its status stays as it was (Docker says unhealthy).
type Health struct {
	Status HealthStatus
	// FailingStreak is how many probes have failed one after another.
	FailingStreak int
	// Log are the last probes, five at most, the latest last. Those of earlier starts are among them.
	Log []HealthResult `json:",omitempty"`
}

// A HealthStatus is what a health check says of its container.
type HealthStatus string

// The statuses, in Docker's words.
const (
	// Starting is one of which no probe has succeeded, and not enough have failed.
	Starting HealthStatus = "starting"
	Healthy  HealthStatus = "healthy"
	// Unhealthy is one of which Retries probes have failed one after another, or that does not run any more.
	Unhealthy HealthStatus = "unhealthy"
)

// A HealthResult is what came of a probe.
type HealthResult struct {
	Start, End time.Time
	// ExitCode is that of the command, 128 and more for a signal; -1 for one that could not be executed, or was killed since it took too long.
	ExitCode int
	// Output is what it has written, cut off after 4096 bytes, or why there is no exit code.
	Output string
}

const (
	maxHealthLog    = 5
	maxHealthOutput = 4096
	maxHealthFile   = 1 << 20
)

// defaultHealthcheck has Docker's defaults.
var defaultHealthcheck = image.Healthcheck{Interval: 30 * time.Second, Timeout: 30 * time.Second, StartInterval: 5 * time.Second, Retries: 3}

// after is the health after one more probe. ran is how long the container had run when that began. check has defaults.
func (h *Health) after(r HealthResult, ran time.Duration, check *image.Healthcheck) *Health {
	next := *h
	next.Log = append(slices.Clone(h.Log[max(0, len(h.Log)-maxHealthLog+1):]), r)
	switch {
	case r.ExitCode == 0:
		next.Status, next.FailingStreak = Healthy, 0
	case h.Status == Starting && ran < check.StartPeriod: // it does not count
	default:
		next.FailingStreak++
		if next.FailingStreak >= check.Retries {
			next.Status = Unhealthy
		}
	}
	return &next
}

// interval is how long to wait before the next probe, when the container has run for so long. check has defaults.
func (h *Health) interval(ran time.Duration, check *image.Healthcheck) time.Duration {
	if h.Status == Starting && ran < check.StartPeriod {
		return check.StartInterval
	}
	return check.Interval
}

// A healthFile is what is kept of a container's health. It is written by whoever executes the check, and holds until the container is
// started again, or the power goes off.
type healthFile struct {
	Started time.Time // the start that it is of
	Health  Health
}

func (e *Engine) healthPath(id string) string { return e.path(id, "health.json") }

// health looks up the health of a container.
func (e *Engine) health(c *Container) *Health {
	if !c.Healthcheck.Probes() || c.State.Started.IsZero() {
		return nil
	}
	f := healthFile{}
	// What cannot be read was not written, or is what a loss of power has left.
	_ = durable.ReadJSON(e.healthPath(c.ID), maxHealthFile, &f)
	h := f.Health
	if !f.Started.Equal(c.State.Started) || h.Status == "" {
		h.Status, h.FailingStreak = Starting, 0
	}
	if c.State.Status != Running {
		h.Status = Unhealthy // as Docker says
	}
	return &h
}

func (e *Engine) writeHealth(c *Container, h *Health) error {
	b, err := json.Marshal(&healthFile{c.State.Started, *h})
	if err != nil {
		return err
	}
	return durable.ReplaceFile(e.healthPath(c.ID), b, os.FileMode(0o600))
}

// mergeHealthcheck puts the health check of a container together. One of an image that is none of Docker's is passed over, as Docker does.
func (e *Engine) mergeHealthcheck(c *Container, img *image.Image) error {
	if err := c.Config.Healthcheck.Validate(); err != nil {
		return &Error{Kind: Invalid, Message: err.Error()}
	}
	of, shell, err := img.Healthcheck()
	if err == nil {
		err = of.Validate()
	}
	if err != nil {
		e.log.Warn("health check of an image", "image", c.Config.Image, "error", err)
		of = nil
	}
	c.Healthcheck, c.Shell = c.Config.Healthcheck.Over(of), shell
	return nil
}
