package image

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Healthcheck says how a container is asked whether it is well: Docker's addition to an image's configuration. A duration that is zero,
// and Retries that are, take the default.
type Healthcheck struct {
	// Test is the probe: ["CMD", command, arguments…], or ["CMD-SHELL", line], which the image's shell executes; exit status 0 says that
	// the container is well. ["NONE"] is none. Empty takes what is below it: an image's parent's, a container's image's.
	Test []string `json:",omitempty"`
	// Interval is how long to wait before a probe: after the start, or after the end of the one before. The default is 30 s.
	Interval time.Duration `json:",omitempty"`
	// Timeout is how long a probe may take before it is killed, and has failed. The default is 30 s.
	Timeout time.Duration `json:",omitempty"`
	// StartPeriod is for how long after the start a failure does not count, until a probe has succeeded. The default is none.
	StartPeriod time.Duration `json:",omitempty"`
	// StartInterval is Interval during StartPeriod, until a probe has succeeded. The default is 5 s.
	StartInterval time.Duration `json:",omitempty"`
	// Retries is how many probes must fail one after another for the container to be unhealthy. The default is 3.
	Retries int `json:",omitempty"`
}

// The first words of a [Healthcheck].Test.
const (
	HealthNone  = "NONE"
	HealthCmd   = "CMD"
	HealthShell = "CMD-SHELL"
)

// Validate returns an error, which satisfies errors.Is(err, [ErrInvalid]), that names a field which is none of Docker's.
func (h *Healthcheck) Validate() error {
	if h == nil {
		return nil
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval}} {
		if f.d != 0 && f.d < time.Millisecond {
			return wrongCheck("%s in Healthcheck cannot be less than %v", f.name, time.Millisecond)
		}
	}
	if h.Retries < 0 {
		return wrongCheck("Retries in Healthcheck cannot be negative")
	}
	if len(h.Test) == 0 {
		return nil
	}
	switch word, n := h.Test[0], len(h.Test)-1; {
	case word == HealthNone && n == 0:
	case word == HealthCmd && n > 0 && h.Test[1] != "":
	case word == HealthShell && n > 0: // further ones are the line's $0, $1…
	case word == HealthNone || word == HealthCmd || word == HealthShell:
		return wrongCheck("Test in Healthcheck: %s with %d arguments", word, n)
	default:
		return wrongCheck("Test in Healthcheck: unknown type %q, it must be %s, %s or %s", word, HealthNone, HealthCmd, HealthShell)
	}
	return nil
}

// A checkError says what of a health check is wrong, and nothing of images.
type checkError string

func (e checkError) Error() string        { return string(e) }
func (e checkError) Is(target error) bool { return target == ErrInvalid }

func wrongCheck(format string, args ...any) error { return checkError(fmt.Sprintf(format, args...)) }

// Probes says whether there is something to execute.
func (h *Healthcheck) Probes() bool {
	return h != nil && len(h.Test) > 0 && h.Test[0] != HealthNone
}

// Over returns the check with what it leaves empty taken from another one below it. Either may be nil.
func (h *Healthcheck) Over(below *Healthcheck) *Healthcheck {
	if h == nil || below == nil {
		if h == nil {
			h = below
		}
		return h
	}
	all := *h
	if len(all.Test) == 0 {
		all.Test = below.Test
	}
	for _, f := range []struct {
		to *time.Duration
		d  time.Duration
	}{
		{&all.Interval, below.Interval}, {&all.Timeout, below.Timeout}, {&all.StartPeriod, below.StartPeriod}, {&all.StartInterval, below.StartInterval},
	} {
		if *f.to == 0 {
			*f.to = f.d
		}
	}
	if all.Retries == 0 {
		all.Retries = below.Retries
	}
	return &all
}

// Healthcheck returns the image's health check, nil if it has none, and the shell that its SHELL says, nil if it says none. The check is as it
// is written: Validate may refuse it.
func (i *Image) Healthcheck() (check *Healthcheck, shell []string, err error) {
	var c struct {
		Config struct {
			Healthcheck *Healthcheck
			Shell       []string
		} `json:"config"`
	}
	if err := json.Unmarshal(i.ConfigJSON, &c); err != nil {
		return nil, nil, invalid("configuration: %v", err)
	}
	return c.Config.Healthcheck, c.Config.Shell, nil
}
