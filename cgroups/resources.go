package cgroups

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Bounds that [Resources.Validate] enforces.
const (
	// MinMemory is the least memory limit, 6 MiB, as Docker has it. The kernel would take less, but no process starts
	// with it: page tables and the executable's first pages are charged to the group too.
	MinMemory = 6 << 20

	// MinCPUShares and MaxCPUShares bound CPUShares: the kernel's own bounds for cpu.shares.
	MinCPUShares = 2
	MaxCPUShares = 1 << 18

	// MinCPUPeriod and MaxCPUPeriod bound CPUPeriod, MinCPUQuota bounds CPUQuota: the kernel's own bounds.
	MinCPUPeriod = time.Millisecond
	MaxCPUPeriod = time.Second
	MinCPUQuota  = time.Millisecond

	// DefaultCPUPeriod is the period used when CPUQuota is set and CPUPeriod is not: the kernel's default.
	DefaultCPUPeriod = 100 * time.Millisecond

	// MaxSwappiness bounds Swappiness (Linux < 5.8 takes 100 at most).
	MaxSwappiness = 200

	// MaxRealtimePeriod bounds RealtimePeriod.
	MaxRealtimePeriod = time.Hour

	// MinIOWeight and MaxIOWeight bound IOWeight.
	MinIOWeight = 10
	MaxIOWeight = 1000

	// Unlimited lifts a limit: for Memory, MemorySwap, MemoryReservation, KernelTCPMemory, CPUQuota, RealtimeRuntime,
	// Pids, and those of IODevice, HugepageLimit and RDMALimit.
	Unlimited = -1
)

// Resources are the limits of a group. The zero value sets none. In [Group.Update] a field that is zero leaves what
// is in force.
type Resources struct {
	// Memory is the most memory in bytes, page cache included; at least MinMemory. When it is used up and nothing can
	// be reclaimed, the kernel's OOM killer ends a process of the group. 0 sets no limit, Unlimited lifts one.
	Memory int64

	// MemorySwap is the most memory and swap together in bytes, as Docker counts it: equal to Memory it forbids swap.
	// 0 sets no limit on swap, Unlimited lifts one. It needs Memory, and may not be smaller. (Docker's daemon takes 0
	// as twice the memory: that is a caller's choice, not made here.)
	MemorySwap int64

	// MemoryReservation is the memory in bytes that reclaim spares while there is memory elsewhere: the soft limit of
	// v1, memory.low of v2. At least MinMemory, at most Memory. 0 sets none, Unlimited lifts one.
	MemoryReservation int64

	// OOMGroup has the OOM killer end all processes of the group at once (v2's memory.oom.group, Linux ≥ 4.19).
	// With memory on v1 it is an error. Update cannot turn it off.
	OOMGroup bool

	// OOMKillDisable has processes that want more memory than the limit wait until there is some, in place of killing
	// one. v1 only. nil leaves it, at first false.
	OOMKillDisable *bool

	// Swappiness says how much the kernel prefers swapping to dropping page cache, from 0 to MaxSwappiness. v1 only. nil
	// leaves it, at first that of the group above.
	Swappiness *uint64

	// KernelTCPMemory is the most memory in bytes for buffers of TCP. v1 only. 0 sets no limit, Unlimited lifts one.
	KernelTCPMemory int64

	// CPUQuota is the CPU time that the group may use in each CPUPeriod, all CPUs together: 150 ms in 100 ms is one CPU
	// and a half. At least MinCPUQuota. 0 sets no limit, Unlimited lifts one.
	CPUQuota time.Duration

	// CPUPeriod is the length of a period, from MinCPUPeriod to MaxCPUPeriod. 0 is DefaultCPUPeriod, or in an update
	// the period in force.
	CPUPeriod time.Duration

	// CPUShares is the group's weight among its siblings when CPUs are contended, from MinCPUShares to MaxCPUShares;
	// a group has 1024 by default. 0 leaves that. On v2 it becomes cpu.weight, see [Weight].
	CPUShares uint64

	// CPUBurst is CPU time that the group may save up in periods in which it used less than its quota, to use it later
	// (Linux ≥ 5.14). At most CPUQuota. 0 sets none, Unlimited, which stands for "no more", takes it away.
	CPUBurst time.Duration

	// CPUIdle gives the group the CPU only when nobody else wants it, as SCHED_IDLE does for a process (Linux ≥ 5.15).
	// nil leaves it, at first false. While it is true, CPUShares cannot be set.
	CPUIdle *bool

	// RealtimeRuntime is the CPU time that processes with a realtime policy may use in each RealtimePeriod; without it
	// there can be none in the group. v1 only, with a kernel that has CONFIG_RT_GROUP_SCHED, and not more than the group
	// above has. 0 leaves it, at first none; Unlimited lifts it.
	RealtimeRuntime time.Duration

	// RealtimePeriod is the length of a period, from 1 µs to MaxRealtimePeriod. 0 leaves it, at first a second.
	RealtimePeriod time.Duration

	// CPUs and Mems are the CPUs and memory nodes that may be used, as lists such as "0-3,8". Empty means those of the
	// parent.
	CPUs string
	Mems string

	// Pids is the most processes and threads. 0 sets no limit, Unlimited lifts one.
	Pids int64

	// IOWeight is the group's weight among its siblings when a disk is contended, from MinIOWeight to MaxIOWeight. It
	// counts with the I/O scheduler BFQ and, on v2, with io.cost, whose io.weight gets it as [IOWeight] says. 0 leaves
	// it, at first 100.
	IOWeight uint16

	// IODevices are limits on single block devices.
	IODevices []IODevice

	// Hugepages are limits on memory in huge pages, a page size each.
	Hugepages []HugepageLimit

	// RDMA are limits on RDMA devices.
	RDMA []RDMALimit

	// NetClass is the class of the group's network packets, for tc(8) and iptables. v1 only. nil leaves it, at first 0.
	NetClass *uint32

	// NetPriorities are the priorities of the group's packets at network interfaces. v1 only.
	NetPriorities []NetPriority

	// Unified are control files of v2 by name, and what is written to them after everything else, line by line:
	// "memory.high", "io.latency". The name begins with that of a controller that is there on v2; of the files that
	// begin with "cgroup." only cgroup.max.depth, cgroup.max.descendants and cgroup.pressure can be written.
	Unified map[string]string

	// Devices says which device nodes processes may open or make: everything is denied, then the rules apply in order.
	// nil means DefaultDevices in Create, and no change in Update; an empty slice denies all. v1 has the devices
	// controller for it, v2 an eBPF program. Both need CAP_SYS_ADMIN in the initial user namespace: without it the
	// default, and only that, is left out, since then the kernel forbids making device nodes altogether.
	Devices []DeviceRule

	// AllDevices leaves the group with the devices that its parent allows. It excludes Devices.
	AllDevices bool
}

// A ResourceError says which field of [Resources] could not be set, and why. The cause satisfies
// errors.Is(err, errors.ErrUnsupported) when the host lacks what the field needs, such as a controller.
type ResourceError struct {
	Field string // the field's name: "Memory"
	Value string // what was asked for
	Err   error
}

func (e *ResourceError) Error() string { return e.Field + " " + e.Value + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ResourceError) Unwrap() error { return e.Err }

func fieldError(field string, value any, err error) error {
	return &ResourceError{Field: field, Value: fmt.Sprint(value), Err: err}
}

// Validate says whether the values make sense, whatever the host is. The error is a [*ResourceError]. Create and
// Update call it.
func (r *Resources) Validate() error {
	if r == nil {
		return nil
	}
	for _, check := range []func() error{r.validateMemory, r.validateCPU, r.validateRealtime,
		r.validateIO, r.validateHugepages, r.validateRDMA, r.validateNetwork, r.validateUnified, r.validateDevices} {
		if err := check(); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, list string }{{"CPUs", r.CPUs}, {"Mems", r.Mems}} {
		if err := validateList(f.list); err != nil {
			return fieldError(f.name, strconv.Quote(f.list), err)
		}
	}
	if r.Pids < Unlimited {
		return fieldError("Pids", r.Pids, errors.New("is negative"))
	}
	return nil
}

func (r *Resources) validateMemory() error {
	for _, f := range []struct {
		name  string
		bytes int64
	}{{"Memory", r.Memory}, {"MemorySwap", r.MemorySwap}, {"MemoryReservation", r.MemoryReservation}} {
		switch {
		case f.bytes < Unlimited:
			return fieldError(f.name, f.bytes, errors.New("is negative"))
		case f.bytes > 0 && f.bytes < MinMemory:
			return fieldError(f.name, f.bytes, fmt.Errorf("is below the minimum of %d bytes (6 MiB)", MinMemory))
		}
	}
	if r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory {
		return fieldError("MemorySwap", r.MemorySwap,
			fmt.Errorf("is memory and swap together, so not below Memory, %d", r.Memory))
	}
	if r.Memory == Unlimited && r.MemorySwap > 0 {
		return fieldError("MemorySwap", r.MemorySwap, errors.New("needs a limit in Memory"))
	}
	if r.Memory > 0 && r.MemoryReservation > r.Memory {
		return fieldError("MemoryReservation", r.MemoryReservation, fmt.Errorf("is above Memory, %d", r.Memory))
	}
	if r.KernelTCPMemory < Unlimited {
		return fieldError("KernelTCPMemory", r.KernelTCPMemory, errors.New("is negative"))
	}
	if r.Swappiness != nil && *r.Swappiness > MaxSwappiness {
		return fieldError("Swappiness", *r.Swappiness, fmt.Errorf("is not from 0 to %d", MaxSwappiness))
	}
	return nil
}

func (r *Resources) validateCPU() error {
	if r.CPUPeriod != 0 && (r.CPUPeriod < MinCPUPeriod || r.CPUPeriod > MaxCPUPeriod) {
		return fieldError("CPUPeriod", r.CPUPeriod, fmt.Errorf("is not from %v to %v", MinCPUPeriod, MaxCPUPeriod))
	}
	if r.CPUQuota != 0 && r.CPUQuota != Unlimited && (r.CPUQuota < MinCPUQuota || r.CPUQuota > maxCPUQuota) {
		return fieldError("CPUQuota", r.CPUQuota, fmt.Errorf("is not from %v to %v", MinCPUQuota, maxCPUQuota))
	}
	if r.CPUShares != 0 && (r.CPUShares < MinCPUShares || r.CPUShares > MaxCPUShares) {
		return fieldError("CPUShares", r.CPUShares, fmt.Errorf("is not from %d to %d", MinCPUShares, MaxCPUShares))
	}
	switch {
	case r.CPUBurst < Unlimited, r.CPUBurst > 0 && r.CPUBurst < time.Microsecond, r.CPUBurst > maxCPUQuota:
		return fieldError("CPUBurst", r.CPUBurst, fmt.Errorf("is not from %v to %v", time.Microsecond, maxCPUQuota))
	case r.CPUQuota > 0 && r.CPUBurst > r.CPUQuota:
		return fieldError("CPUBurst", r.CPUBurst, fmt.Errorf("is above CPUQuota, %v", r.CPUQuota))
	}
	return nil
}

func (r *Resources) validateRealtime() error {
	period, runtime := r.RealtimePeriod, r.RealtimeRuntime
	switch {
	case period != 0 && (period < time.Microsecond || period > MaxRealtimePeriod):
		return fieldError("RealtimePeriod", period, fmt.Errorf("is not from %v to %v", time.Microsecond, MaxRealtimePeriod))
	case runtime < Unlimited, runtime > 0 && runtime < time.Microsecond, runtime > MaxRealtimePeriod:
		return fieldError("RealtimeRuntime", runtime,
			fmt.Errorf("is not from %v to %v", time.Microsecond, MaxRealtimePeriod))
	case period != 0 && runtime > period:
		return fieldError("RealtimeRuntime", runtime, fmt.Errorf("is above RealtimePeriod, %v", period))
	}
	return nil
}

// maxCPUQuota is the kernel's bound: 2^44 ns (MAX_BW in kernel/sched), rounded down to microseconds.
const maxCPUQuota = (1 << 44) / 1000 * time.Microsecond

// maxListNumber bounds what validateList takes: above any CPU or memory node that Linux can be built for.
const maxListNumber = 1 << 16

// validateList checks the kernel's list format: numbers and ranges, separated by commas (cpuset(7)).
func validateList(s string) error {
	if s == "" {
		return nil
	}
	bad := errors.New(`is not a list such as "0-3,8"`)
	for {
		low, rest, ok := cutNumber(s)
		high := low
		if ok && rest != "" && rest[0] == '-' {
			high, rest, ok = cutNumber(rest[1:])
		}
		if !ok || low > high {
			return bad
		}
		if rest == "" {
			return nil
		}
		if rest[0] != ',' {
			return bad
		}
		s = rest[1:]
	}
}

// cutNumber takes a decimal number off the front of s.
func cutNumber(s string) (n int, rest string, ok bool) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n = n*10 + int(s[i]-'0'); n > maxListNumber {
			return 0, "", false
		}
	}
	return n, s[i:], i > 0
}
