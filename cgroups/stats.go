package cgroups

import "time"

// Stats is what the kernel counted for a group, the groups below it included. What the host does not count stays
// zero, or nil.
type Stats struct {
	Memory Memory
	CPU    CPU
	Pids   Pids
	IO     IO

	// Hugepages is the memory in huge pages, by page size ("2MB"). It is nil where the controller hugetlb is not there,
	// or on v2 not enabled, which a limit does.
	Hugepages map[string]Hugepages

	// CPUPressure, MemoryPressure and IOPressure tell how long processes waited for the resource. They are nil where
	// there is no unified hierarchy or the kernel has no pressure stall information (it may need psi=1 at boot).
	CPUPressure, MemoryPressure, IOPressure *Pressure
}

// Memory is the memory of a group, in bytes.
type Memory struct {
	Current int64 // in use now, page cache included
	Peak    int64 // the most that was in use; on v2 it needs Linux ≥ 5.19
	Limit   int64 // Unlimited when there is none
	Swap    int64 // swap in use now

	Anon         int64 // of Current: anonymous memory
	File         int64 // of Current: page cache
	InactiveFile int64 // of File: not used lately, reclaimed first
	Shared       int64 // of File: shared memory and tmpfs
	Mapped       int64 // of File: mapped by processes
	Kernel       int64 // of Current: the kernel's own, for the group; on v2 it needs Linux ≥ 5.18
	SwapLimit    int64 // of swap alone on v2, of memory and swap together on v1; Unlimited when there is none

	Faults      uint64 // page faults
	MajorFaults uint64 // of Faults: those that waited for a disk
	LimitHits   uint64 // how often Limit, or on v1 SwapLimit, was reached; some kernels do not count it on v1

	// Detail is memory.stat as the kernel has it, whose keys differ between v1 and v2.
	Detail map[string]uint64

	// OOMKills counts the processes that the OOM killer ended, whichever limit or shortage was the reason. Where it
	// ends a whole group, each process of it counts, and one that is slow to die may count again: what matters is
	// whether it is more than before. On v1 kills in a group below are lost when that one is removed.
	OOMKills uint64
	// OOMGroupKills counts how often it ended a whole group (v2, Linux ≥ 5.17).
	OOMGroupKills uint64
}

// Used is Current without the page cache that would be reclaimed first: what docker stats shows.
func (m Memory) Used() int64 { return max(m.Current-m.InactiveFile, 0) }

// CPU is the CPU time of a group.
type CPU struct {
	Usage  time.Duration // all of it
	User   time.Duration // of Usage: in user mode
	System time.Duration // of Usage: in the kernel

	Periods       uint64        // periods of the quota that passed while the group wanted to run
	Throttled     uint64        // of Periods: those in which the quota was used up
	ThrottledTime time.Duration // how long the group was held back, summed over CPUs
	Bursts        uint64        // of Periods: those in which more than the quota was used (Linux ≥ 5.14)
	BurstTime     time.Duration // by how much

	PerCPU []time.Duration // of Usage: on each CPU; v1 only
}

// Pids is the number of processes and threads of a group.
type Pids struct {
	Current int64
	Limit   int64  // Unlimited when there is none
	Refused uint64 // forks that failed because of the limit
}

// IO is what a group moved from and to block devices, all devices together. (On v1 the kernel does not count what goes
// through the page cache, and some, such as 6.1, only devices that have a limit.)
type IO struct {
	ReadBytes, WriteBytes uint64
	Reads, Writes         uint64 // operations

	Devices []IODeviceStats // each device by itself, in the order of their numbers
}

// IODeviceStats is what a group moved from and to one block device.
type IODeviceStats struct {
	Major, Minor           uint32
	ReadBytes, WriteBytes  uint64
	Reads, Writes          uint64
	DiscardBytes, Discards uint64
}

// Hugepages is a group's memory in huge pages of one size, in bytes.
type Hugepages struct {
	Current  int64  // in use now
	Reserved int64  // reserved now (Linux ≥ 5.7)
	Limit    int64  // Unlimited when there is none
	Failures uint64 // how often the limit was reached
}

// Pressure is the pressure on one resource.
type Pressure struct {
	Some Stall // at least one process waited
	Full Stall // all that were not idle waited at once; of CPU since Linux 5.13
}

// Stall is the share of time that was lost waiting.
type Stall struct {
	Avg10, Avg60, Avg300 float64 // per cent of the last 10, 60 and 300 seconds
	Total                time.Duration
}
