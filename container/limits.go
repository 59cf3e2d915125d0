package container

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
)

// resources translates the limits: those of Resources, and those of the Container's own fields.
func (c *Container) resources() *cgroups.Resources {
	r := &cgroups.Resources{}
	if c.Resources != nil {
		*r = *c.Resources
	}
	for _, f := range c.ownLimits() {
		if f.set {
			f.apply(r)
		}
	}
	if c.Memory != 0 && r.MemorySwap == 0 {
		r.MemorySwap = c.Memory + min(c.Memory, math.MaxInt64-c.Memory)
	}
	rules := c.deviceRules()
	switch {
	case r.Devices != nil && rules != nil:
		r.Devices = append(slices.Clone(r.Devices), rules...)
	case rules != nil && !r.AllDevices:
		r.Devices = rules
	}
	if c.Privileged && r.Devices == nil {
		r.AllDevices = true
	}
	return r
}

// An ownLimit is a limit that the Container has a field for, which Resources could set too.
type ownLimit struct {
	field string
	name  string // in cgroups.Resources
	set   bool
	apply func(*cgroups.Resources)
	twice func(*cgroups.Resources) bool // Resources sets it
}

func (c *Container) ownLimits() []ownLimit {
	return []ownLimit{
		{"Memory", "Memory", c.Memory != 0, func(r *cgroups.Resources) { r.Memory = c.Memory },
			func(r *cgroups.Resources) bool { return r.Memory != 0 }},
		{"MemorySwap", "MemorySwap", c.MemorySwap != 0, func(r *cgroups.Resources) { r.MemorySwap = c.MemorySwap },
			func(r *cgroups.Resources) bool { return r.MemorySwap != 0 }},
		{"MemoryReservation", "MemoryReservation", c.MemoryReservation != 0,
			func(r *cgroups.Resources) { r.MemoryReservation = c.MemoryReservation },
			func(r *cgroups.Resources) bool { return r.MemoryReservation != 0 }},
		{"CPUs", "CPUQuota", c.CPUs != 0, func(r *cgroups.Resources) {
			r.CPUPeriod = cgroups.DefaultCPUPeriod
			r.CPUQuota = time.Duration(c.CPUs * float64(r.CPUPeriod)).Round(time.Microsecond)
		}, func(r *cgroups.Resources) bool { return r.CPUQuota != 0 || r.CPUPeriod != 0 }},
		{"CPUShares", "CPUShares", c.CPUShares != 0, func(r *cgroups.Resources) { r.CPUShares = c.CPUShares },
			func(r *cgroups.Resources) bool { return r.CPUShares != 0 }},
		{"CpusetCPUs", "CPUs", c.CpusetCPUs != "", func(r *cgroups.Resources) { r.CPUs = c.CpusetCPUs },
			func(r *cgroups.Resources) bool { return r.CPUs != "" }},
		{"CpusetMems", "Mems", c.CpusetMems != "", func(r *cgroups.Resources) { r.Mems = c.CpusetMems },
			func(r *cgroups.Resources) bool { return r.Mems != "" }},
		{"PidsLimit", "Pids", c.PidsLimit > 0, func(r *cgroups.Resources) { r.Pids = c.PidsLimit },
			func(r *cgroups.Resources) bool { return r.Pids != 0 }},
	}
}

// checkLimits looks at Resources, by itself and together with the other fields.
func (c *Container) checkLimits() error {
	if c.Resources == nil {
		return nil
	}
	var re *cgroups.ResourceError
	if err := c.Resources.Validate(); errors.As(err, &re) {
		return wrong("Resources."+re.Field, "%s: %w", re.Value, re.Err)
	}
	for _, f := range c.ownLimits() {
		if f.set && f.twice(c.Resources) {
			return wrong(f.field, "the limit is set by Resources.%s too: use one", f.name)
		}
	}
	if c.Resources.AllDevices && len(c.Devices) > 0 {
		return wrong("Resources.AllDevices", "there are Devices, which would change nothing")
	}
	if err := c.resources().Validate(); errors.As(err, &re) { // both together
		return wrong(c.limitName(re.Field), "%s: %w", re.Value, re.Err)
	}
	return nil
}

// limitName is the Container's name for a field of cgroups.Resources.
func (c *Container) limitName(field string) string {
	if field == "CPUPeriod" && c.CPUs != 0 {
		return "CPUs"
	}
	for _, f := range c.ownLimits() {
		if f.name == field && f.set {
			return f.field
		}
	}
	switch {
	case field == "MemorySwap" && c.Memory != 0 && (c.Resources == nil || c.Resources.MemorySwap == 0):
		return field // which the Container sets for Memory
	case (field == "Devices" || field == "AllDevices") && (c.Resources == nil || c.Resources.Devices == nil):
		return "Devices"
	}
	return "Resources." + field
}
