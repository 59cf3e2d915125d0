package main

import (
	"math"
	"strings"
)

func (r *statsReader) cpu2(dir string, s *stats) {
	keys := r.keys(dir, "cpu.stat")
	u := &s.CPU.Usage
	u.Total, u.User, u.Kernel = keys["usage_usec"]*1000, keys["user_usec"]*1000, keys["system_usec"]*1000
}

func (r *statsReader) throttling2(dir string, s *stats) {
	keys := r.keys(dir, "cpu.stat")
	t := &s.CPU.Throttling
	t.Periods, t.ThrottledPeriods, t.ThrottledTime = keys["nr_periods"], keys["nr_throttled"], keys["throttled_usec"]*1000
}

func (r *statsReader) cpuset2(dir string, s *stats) {
	s.CPUSet.CPUs, s.CPUSet.Mems = r.list(dir, "cpuset.cpus.effective"), r.list(dir, "cpuset.mems.effective")
}

func (r *statsReader) memory2(dir string, s *stats) {
	m := &s.Memory
	m.Raw = r.keys(dir, "memory.stat")
	m.Cache = m.Raw["file"]
	m.Usage = memoryEntry{
		Usage: r.number(dir, "memory.current"), Limit: r.number(dir, "memory.max"), Max: r.number(dir, "memory.peak"),
		Failcnt: r.keys(dir, "memory.events")["max"],
	}
	if r.text(dir, "memory.swap.max") == "" { // the kernel does not account for swap
		return
	}
	m.Swap.Usage = m.Usage.Usage + r.number(dir, "memory.swap.current")
	m.Swap.Limit = math.MaxUint64
	if swap := r.number(dir, "memory.swap.max"); swap < math.MaxUint64-m.Usage.Limit {
		m.Swap.Limit = m.Usage.Limit + swap
	}
}

// io2 reads lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" into v1's tables.
func (r *statsReader) io2(dir string, s *stats) {
	for line := range strings.Lines(r.text(dir, "io.stat")) {
		device, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		major, minor, ok := strings.Cut(device, ":")
		if !ok {
			continue
		}
		e := blkioEntry{Major: r.parse(dir, "io.stat", major), Minor: r.parse(dir, "io.stat", minor)}
		for field := range strings.FieldsSeq(rest) {
			name, value, _ := strings.Cut(field, "=")
			to := &s.Blkio.ServiceBytes
			switch name {
			case "rbytes", "rios":
				e.Op = "Read"
			case "wbytes", "wios":
				e.Op = "Write"
			case "dbytes", "dios":
				e.Op = "Discard"
			default:
				continue
			}
			if strings.HasSuffix(name, "ios") {
				to = &s.Blkio.Serviced
			}
			e.Value = r.parse(dir, "io.stat", value)
			*to = append(*to, e)
		}
	}
}

func (r *statsReader) hugetlb2(dir string, s *stats) {
	for _, size := range hugepageSizes(dir, "current") {
		prefix := "hugetlb." + size
		h := statsHugetlb{Usage: r.number(dir, prefix+".rsvd.current"), Failcnt: r.keys(dir, prefix+".events")["max"]}
		if r.text(dir, prefix+".rsvd.current") == "" {
			h.Usage = r.number(dir, prefix+".current")
		}
		s.Hugetlb[size] = h
	}
}
