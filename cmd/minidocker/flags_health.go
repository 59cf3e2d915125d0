package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/image"
)

// healthFlags say how the container's health is checked.
type healthFlags struct {
	command string
	check   image.Healthcheck
	none    bool
}

func (h *healthFlags) add(f *pflag.FlagSet) {
	f.StringVar(&h.command, "health-cmd", "", "Command to run to check health")
	f.DurationVar(&h.check.Interval, "health-interval", 0, "Time between running the check (ms|s|m|h) (default 0s)")
	f.IntVar(&h.check.Retries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	f.DurationVar(&h.check.Timeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
	f.DurationVar(&h.check.StartPeriod, "health-start-period", 0,
		"Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)")
	f.DurationVar(&h.check.StartInterval, "health-start-interval", 0, "Time between running the check during the start period (ms|s|m|h) (default 0s)")
	f.BoolVar(&h.none, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

// fill returns the check, nil if the image's holds.
func (h *healthFlags) fill() (*image.Healthcheck, error) {
	c := h.check
	given := h.command != "" || c.Retries != 0
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"interval", c.Interval}, {"timeout", c.Timeout}, {"start-period", c.StartPeriod}, {"start-interval", c.StartInterval}, {"retries", time.Duration(c.Retries)},
	} {
		if f.d < 0 {
			return nil, fmt.Errorf("--health-%s cannot be negative", f.name)
		}
		given = given || f.d != 0
	}
	switch {
	case h.none && given:
		return nil, errors.New("--no-healthcheck conflicts with --health-* options")
	case h.none:
		return &image.Healthcheck{Test: []string{image.HealthNone}}, nil
	case !given:
		return nil, nil
	}
	if h.command != "" {
		c.Test = []string{image.HealthShell, h.command}
	}
	return &c, nil
}
