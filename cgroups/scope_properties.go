package cgroups

import (
	"math"
	"slices"
	"time"
)

// A scopeProperty is a limit as systemd.resource-control(5) has it, and since which version of systemd.
type scopeProperty struct {
	name  string
	value any
	since int
}

// scopeProperties are the limits that systemd knows of. On v1 it has fewer. What it does not know is for the group's files.
func scopeProperties(r *Resources, unified bool) []scopeProperty {
	if r == nil {
		return nil
	}
	var all []scopeProperty
	add := func(set bool, name string, value any, since int) {
		if set {
			all = append(all, scopeProperty{name, value, since})
		}
	}
	if unified {
		add(r.Memory != 0, "MemoryMax", unitLimit(r.Memory), 231)
		if swap, ok := r.swapAlone(); ok {
			add(true, "MemorySwapMax", unitLimit(swap), 232)
		}
		low := uint64(max(r.MemoryReservation, 0)) // there "no more" is zero
		add(r.MemoryReservation != 0, "MemoryLow", low, 231)
		add(r.CPUShares != 0, "CPUWeight", Weight(r.CPUShares), 232)
		add(r.IOWeight != 0, "IOWeight", IOWeight(r.IOWeight), 230)
		add(r.CPUs != "", "AllowedCPUs", listMask(r.CPUs), 244)
		add(r.Mems != "", "AllowedMemoryNodes", listMask(r.Mems), 244)
	} else {
		add(r.Memory != 0, "MemoryLimit", unitLimit(r.Memory), 0)
		add(r.CPUShares != 0, "CPUShares", r.CPUShares, 0)
		add(r.IOWeight != 0, "BlockIOWeight", uint64(r.IOWeight), 0)
	}
	if r.CPUQuota != 0 {
		add(true, "CPUQuotaPerSecUSec", quotaPerSecond(r.CPUQuota, r.CPUPeriod), 0)
	}
	add(r.CPUPeriod != 0, "CPUQuotaPeriodUSec", uint64(r.CPUPeriod.Microseconds()), 242)
	add(r.Pids != 0, "TasksMax", unitLimit(r.Pids), 227)
	return all
}

// unitLimit is a limit as systemd takes it: no limit is the greatest number.
func unitLimit(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// swapAlone is the limit on swap as v2 has it, without the memory; ok is false if there is none to be set.
func (r *Resources) swapAlone() (swap int64, ok bool) {
	switch {
	case r.MemorySwap == 0:
		return 0, false
	case r.MemorySwap == Unlimited:
		return Unlimited, true
	case r.Memory <= 0:
		return 0, false // of an update: it depends on the limit in force
	}
	return r.MemorySwap - r.Memory, true
}

// quotaPerSecond is the CPU time in a second, in microseconds: rounded up to 10 ms, as systemd writes it, so that
// it is not below what was asked for.
func quotaPerSecond(quota, period time.Duration) uint64 {
	if quota < 0 {
		return math.MaxUint64
	}
	if period == 0 {
		period = DefaultCPUPeriod
	}
	const unit = 10_000
	each := float64(quota) / float64(period) * 1e6
	return uint64(math.Ceil(each/unit)) * unit
}

// listMask is a list such as "0-3,8" as a bit mask, the lowest numbers in the first byte.
func listMask(list string) []byte {
	var mask []byte
	numbers, err := parseList(list)
	if err != nil {
		return nil // Validate has looked
	}
	for n := range numbers {
		for len(mask) <= n/8 {
			mask = append(mask, 0)
		}
		mask[n/8] |= 1 << (n % 8)
	}
	return slices.Clip(mask)
}
