package main

import (
	"math"
	"strings"
)

// clockTick is the unit of cpuacct.stat: a hundredth of a second, whatever the kernel's own.
const clockTick = 10_000_000

func (r *statsReader) cpuacct(dir string, s *stats) {
	u := &s.CPU.Usage
	u.Total = r.number(dir, "cpuacct.usage")
	u.Percpu = r.numbers(dir, "cpuacct.usage_percpu")
	modes := r.keys(dir, "cpuacct.stat")
	u.User, u.Kernel = modes["user"]*clockTick, modes["system"]*clockTick
	for line := range strings.Lines(r.text(dir, "cpuacct.usage_all")) {
		f := strings.Fields(line) // cpu user system
		if len(f) < 3 || f[0] == "cpu" {
			continue
		}
		u.PercpuUser = append(u.PercpuUser, r.parse(dir, "cpuacct.usage_all", f[1]))
		u.PercpuKernel = append(u.PercpuKernel, r.parse(dir, "cpuacct.usage_all", f[2]))
	}
}

func (r *statsReader) throttling(dir string, s *stats) {
	keys := r.keys(dir, "cpu.stat")
	t := &s.CPU.Throttling
	t.Periods, t.ThrottledPeriods, t.ThrottledTime = keys["nr_periods"], keys["nr_throttled"], keys["throttled_time"]
}

func (r *statsReader) cpuset(dir string, s *stats) {
	c := &s.CPUSet
	c.CPUs, c.Mems = r.list(dir, "cpuset.cpus"), r.list(dir, "cpuset.mems")
	for file, to := range map[string]*uint64{
		"cpu_exclusive": &c.CPUExclusive, "mem_hardwall": &c.MemHardwall, "mem_exclusive": &c.MemExclusive,
		"memory_migrate": &c.MemoryMigrate, "memory_spread_page": &c.MemorySpreadPage,
		"memory_spread_slab": &c.MemorySpreadSlab, "memory_pressure": &c.MemoryPressure,
		"sched_load_balance": &c.SchedLoadBalance,
	} {
		*to = r.number(dir, "cpuset."+file)
	}
	switch level := r.text(dir, "cpuset.sched_relax_domain_level"); level {
	case "":
	case "-1":
		c.SchedRelaxDomainLevel = -1
	default:
		c.SchedRelaxDomainLevel = int64(r.parse(dir, "cpuset.sched_relax_domain_level", level))
	}
}

func (r *statsReader) memory(dir string, s *stats) {
	m := &s.Memory
	m.Raw = r.keys(dir, "memory.stat")
	m.Cache = m.Raw["cache"]
	for prefix, to := range map[string]*memoryEntry{
		"memory": &m.Usage, "memory.memsw": &m.Swap, "memory.kmem": &m.Kernel, "memory.kmem.tcp": &m.KernelTCP,
	} {
		to.Usage, to.Max = r.number(dir, prefix+".usage_in_bytes"), r.number(dir, prefix+".max_usage_in_bytes")
		to.Limit, to.Failcnt = r.number(dir, prefix+".limit_in_bytes"), r.number(dir, prefix+".failcnt")
	}
}

func (r *statsReader) pids(dir string, s *stats) {
	s.Pids.Current, s.Pids.Limit = r.number(dir, "pids.current"), r.number(dir, "pids.max")
	if s.Pids.Limit == math.MaxUint64 {
		s.Pids.Limit = 0
	}
}

// blkio reads the counts of the scheduler BFQ, if the kernel keeps them, else those of throttling, which all devices have.
func (r *statsReader) blkio(dir string, s *stats) {
	b := &s.Blkio
	for name, to := range map[string]*[]blkioEntry{
		"sectors": &b.Sectors, "io_service_time": &b.ServiceTime, "io_wait_time": &b.WaitTime, "io_merged": &b.Merged,
		"io_queued": &b.Queued, "time": &b.Time, "io_serviced": &b.Serviced, "io_service_bytes": &b.ServiceBytes,
	} {
		*to = r.blkioEntries(dir, "blkio.bfq."+name+"_recursive")
	}
	if b.Serviced == nil && b.ServiceBytes == nil {
		b.Serviced = r.blkioEntries(dir, "blkio.throttle.io_serviced_recursive")
		b.ServiceBytes = r.blkioEntries(dir, "blkio.throttle.io_service_bytes_recursive")
	}
}

// blkioEntries reads lines "8:0 Read 4096" or "8:0 4096"; the last one, "Total 4096", is no device's.
func (r *statsReader) blkioEntries(dir, file string) (all []blkioEntry) {
	for line := range strings.Lines(r.text(dir, file)) {
		f := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == ':' || c == '\n' })
		if len(f) < 3 {
			continue
		}
		e := blkioEntry{Major: r.parse(dir, file, f[0]), Minor: r.parse(dir, file, f[1])}
		if len(f) > 3 {
			e.Op = f[2]
		}
		e.Value = r.parse(dir, file, f[len(f)-1])
		all = append(all, e)
	}
	return all
}

// hugetlb reads what is reserved, which the kernel limits too, where it counts that (Linux ≥ 5.7).
func (r *statsReader) hugetlb(dir string, s *stats) {
	for _, size := range hugepageSizes(dir, "usage_in_bytes") {
		prefix := "hugetlb." + size + ".rsvd"
		if r.text(dir, prefix+".usage_in_bytes") == "" {
			prefix = "hugetlb." + size
		}
		s.Hugetlb[size] = statsHugetlb{
			Usage: r.number(dir, prefix+".usage_in_bytes"), Max: r.number(dir, prefix+".max_usage_in_bytes"),
			Failcnt: r.number(dir, prefix+".failcnt"),
		}
	}
}
