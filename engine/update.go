package engine

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
)

// An Update is limits to be changed, as those of [Config] of the same names. What is zero stays; -1 lifts a limit
// of memory, processes or CPU time.
type Update struct {
	Memory, MemorySwap, MemoryReservation int64
	CPUs                                  float64
	CPUShares                             uint64
	CpusetCPUs, CpusetMems                string
	PidsLimit                             int64
	// CPUQuota in each CPUPeriod is another way to say CPUs.
	CPUQuota, CPUPeriod time.Duration
	// RealtimeRuntime in each RealtimePeriod is what processes of a real-time scheduler get, on cgroup v1.
	RealtimeRuntime, RealtimePeriod time.Duration
	IOWeight                        uint16
	// RestartPolicy, if its Name is not empty, takes the place of the container's.
	RestartPolicy RestartPolicy
}

// Update changes the limits of the container that ref names: at once if it runs, and for its next starts.
func (e *Engine) Update(ctx context.Context, ref string, u *Update) error {
	if u.CPUs != 0 && (u.CPUQuota != 0 || u.CPUPeriod != 0) {
		return invalid("Conflicting options: CPUs and a quota or period of CPU time")
	}
	if err := u.RestartPolicy.check(); err != nil {
		return err
	}
	var changed *Container
	err := e.edit(ctx, ref, func(c *Container) error {
		changed = c
		return e.update(ctx, c, u)
	})
	if err != nil {
		return err
	}
	e.note("update", changed)
	if u.RestartPolicy.Name == "" {
		return nil
	}
	return e.policyChanged(ctx, ref)
}

// update changes a container's document, and the limits of one that runs.
func (e *Engine) update(ctx context.Context, c *Container, u *Update) error {
	r := u.resources()
	if err := r.Validate(); err != nil {
		return &Error{Kind: Invalid, Message: "update", Err: err}
	}
	changed := c.Config
	u.apply(&changed)
	if err := e.checkPolicy(ctx, c, &changed); err != nil {
		return err
	}
	if err := c.startable(changed); err != nil {
		return &Error{Kind: Invalid, Message: "Cannot update container " + c.ShortID(), Err: err}
	}
	if c.State.Status == Running {
		err := e.withAdopted(ctx, c.ID, func(run *Run) error { return run.c.Update(r) })
		if err != nil && !errors.Is(err, cgroups.ErrNotDelegated) {
			return &Error{Kind: Invalid, Message: "Cannot update container " + c.ShortID(), Err: err}
		}
		if err != nil {
			return err
		}
	}
	c.Config = changed
	if p := changed.RestartPolicy; c.State.Restarting && !p.wants(c.State.ExitCode, c.RestartCount) {
		c.State.Restarting, c.State.RestartDelay = false, 0
	}
	return nil
}

// startable returns what a start with another configuration would be refused for.
func (c *Container) startable(changed Config) error {
	try := *c
	try.Config = changed
	if len(c.Args) == 0 {
		return nil
	}
	x, err := try.found()
	if err == nil {
		err = x.Check()
	}
	return err
}

func (u *Update) resources() *cgroups.Resources {
	r := &cgroups.Resources{
		Memory: u.Memory, MemorySwap: u.MemorySwap, MemoryReservation: u.MemoryReservation, CPUShares: u.CPUShares,
		CPUs: u.CpusetCPUs, Mems: u.CpusetMems, Pids: u.PidsLimit, CPUQuota: u.CPUQuota, CPUPeriod: u.CPUPeriod, IOWeight: u.IOWeight,
		RealtimeRuntime: u.RealtimeRuntime, RealtimePeriod: u.RealtimePeriod,
	}
	if u.CPUs != 0 {
		r.CPUPeriod = cgroups.DefaultCPUPeriod
		r.CPUQuota = time.Duration(math.Round(u.CPUs * float64(cgroups.DefaultCPUPeriod)))
	}
	return r
}

// apply puts what is not zero into a configuration.
func (u *Update) apply(cfg *Config) {
	for _, x := range []struct {
		to *int64
		v  int64
	}{
		{&cfg.Memory, u.Memory}, {&cfg.MemorySwap, u.MemorySwap}, {&cfg.MemoryReservation, u.MemoryReservation}, {&cfg.PidsLimit, u.PidsLimit},
	} {
		if x.v != 0 {
			*x.to = x.v
		}
	}
	// In a configuration 0 is no limit.
	cfg.Memory, cfg.MemoryReservation = max(cfg.Memory, 0), max(cfg.MemoryReservation, 0)
	if u.CPUShares != 0 {
		cfg.CPUShares = u.CPUShares
	}
	if u.CpusetCPUs != "" {
		cfg.CpusetCPUs = u.CpusetCPUs
	}
	if u.CpusetMems != "" {
		cfg.CpusetMems = u.CpusetMems
	}
	if u.RestartPolicy.Name != "" {
		cfg.RestartPolicy = u.RestartPolicy
	}
	if u.CPUs == 0 && u.CPUQuota == 0 && u.CPUPeriod == 0 && u.IOWeight == 0 && u.RealtimeRuntime == 0 && u.RealtimePeriod == 0 {
		return
	}
	more := cgroups.Resources{}
	if cfg.Resources != nil {
		more = *cfg.Resources
	}
	if u.CPUs != 0 {
		cfg.CPUs, more.CPUQuota, more.CPUPeriod = u.CPUs, 0, 0
	}
	if u.CPUQuota != 0 || u.CPUPeriod != 0 {
		cfg.CPUs = 0
	}
	if u.CPUQuota != 0 {
		more.CPUQuota = u.CPUQuota
	}
	if u.CPUPeriod != 0 {
		more.CPUPeriod = u.CPUPeriod
	}
	if u.RealtimeRuntime != 0 {
		more.RealtimeRuntime = u.RealtimeRuntime
	}
	if u.RealtimePeriod != 0 {
		more.RealtimePeriod = u.RealtimePeriod
	}
	if u.IOWeight != 0 {
		more.IOWeight = u.IOWeight
	}
	cfg.Resources = &more
}
