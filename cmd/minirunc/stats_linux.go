package main

// The document that events prints, with the names that go-runc and the tools that read runc's know. Times are in
// nanoseconds, memory in bytes; no limit is the kernel's highest number.

type cgroupEvent struct {
	Type string `json:"type"` // "stats" or "oom"
	ID   string `json:"id"`
	Data *stats `json:"data,omitempty"`
}

type stats struct {
	CPU               statsCPU                `json:"cpu"`
	CPUSet            statsCPUSet             `json:"cpuset"`
	Memory            statsMemory             `json:"memory"`
	Pids              statsPids               `json:"pids"`
	Blkio             statsBlkio              `json:"blkio"`
	Hugetlb           map[string]statsHugetlb `json:"hugetlb"`
	IntelRdt          struct{}                `json:"intel_rdt"`          // not supported
	NetworkInterfaces []struct{}              `json:"network_interfaces"` // null: the runtime makes none
}

type statsCPU struct {
	Usage struct {
		Total        uint64   `json:"total,omitempty"`
		Percpu       []uint64 `json:"percpu,omitempty"`
		PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
		PercpuUser   []uint64 `json:"percpu_user,omitempty"`
		Kernel       uint64   `json:"kernel"`
		User         uint64   `json:"user"`
	} `json:"usage"`
	Throttling struct {
		Periods          uint64 `json:"periods,omitempty"`
		ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
		ThrottledTime    uint64 `json:"throttledTime,omitempty"`
	} `json:"throttling"`
	PSI *statsPSI `json:"psi,omitempty"`
}

type statsCPUSet struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

type statsMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryEntry       `json:"usage,omitzero"`
	Swap      memoryEntry       `json:"swap,omitzero"` // memory and swap together
	Kernel    memoryEntry       `json:"kernel,omitzero"`
	KernelTCP memoryEntry       `json:"kernelTCP,omitzero"`
	Raw       map[string]uint64 `json:"raw,omitempty"` // memory.stat
	PSI       *statsPSI         `json:"psi,omitempty"`
}

type memoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type statsPids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"` // 0: none
}

type statsBlkio struct {
	ServiceBytes []blkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []blkioEntry `json:"ioServicedRecursive,omitempty"`
	Queued       []blkioEntry `json:"ioQueueRecursive,omitempty"`
	ServiceTime  []blkioEntry `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime     []blkioEntry `json:"ioWaitTimeRecursive,omitempty"`
	Merged       []blkioEntry `json:"ioMergedRecursive,omitempty"`
	Time         []blkioEntry `json:"ioTimeRecursive,omitempty"`
	Sectors      []blkioEntry `json:"sectorsRecursive,omitempty"`
	PSI          *statsPSI    `json:"psi,omitempty"`
}

type blkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type statsHugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type statsPSI struct {
	Some psiData `json:"some,omitzero"`
	Full psiData `json:"full,omitzero"`
}

type psiData struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"` // µs
}

// readStats reads what the kernel counts of the control group with these directories, as ocistate.State has them.
func readStats(dirs map[string]string) (*stats, error) {
	s := &stats{Hugetlb: make(map[string]statsHugetlb)}
	r := &statsReader{}
	unified := dirs[""]
	for _, c := range []struct {
		name string // of v1's controller
		v1   func(*statsReader, string, *stats)
		v2   func(*statsReader, string, *stats)
	}{
		{"cpuacct", (*statsReader).cpuacct, (*statsReader).cpu2},
		{"cpu", (*statsReader).throttling, (*statsReader).throttling2},
		{"cpuset", (*statsReader).cpuset, (*statsReader).cpuset2},
		{"memory", (*statsReader).memory, (*statsReader).memory2},
		{"pids", (*statsReader).pids, (*statsReader).pids},
		{"blkio", (*statsReader).blkio, (*statsReader).io2},
		{"hugetlb", (*statsReader).hugetlb, (*statsReader).hugetlb2},
	} {
		if dir, ok := dirs[c.name]; ok {
			c.v1(r, dir, s)
		} else if unified != "" {
			c.v2(r, unified, s)
		}
	}
	if unified != "" {
		s.CPU.PSI, s.Memory.PSI, s.Blkio.PSI = r.psi(unified, "cpu"), r.psi(unified, "memory"), r.psi(unified, "io")
	}
	return s, r.err
}
