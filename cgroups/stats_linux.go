package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Stats reads what the kernel counted for the group. It can be called while processes run and after they ended, until
// Remove. It costs some dozen small reads; [Group.OOMKills] alone costs one.
func (g *Group) Stats() (*Stats, error) {
	if err := g.acquire("read statistics of"); err != nil {
		return nil, err
	}
	defer g.mu.RUnlock()
	s := newStats()
	for _, read := range []func(*Stats) error{g.statMemory, g.statCPU, g.statPids, g.statIO, g.statHugepages,
		g.statPressure} {
		if err := read(s); err != nil {
			return nil, fmt.Errorf("statistics of group %s: %w", g.name, err)
		}
	}
	return s, nil
}

func newStats() *Stats {
	return &Stats{Memory: Memory{Limit: Unlimited, SwapLimit: Unlimited}, Pids: Pids{Limit: Unlimited}}
}

// OOMKills returns how many processes of the group the OOM killer has ended so far: see Memory.OOMKills. The error
// satisfies errors.ErrUnsupported when the host has no memory controller for the group.
func (g *Group) OOMKills() (uint64, error) {
	if err := g.acquire("read OOM kills of"); err != nil {
		return 0, err
	}
	defer g.mu.RUnlock()
	n, err := g.node("memory")
	if err != nil {
		return 0, fmt.Errorf("OOM kills of group %s: %w", g.name, err)
	}
	kills, _, known, err := n.oomKills()
	if err == nil && !known {
		err = fmt.Errorf("controller memory is not enabled for it: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return 0, fmt.Errorf("OOM kills of group %s: %w", g.name, err)
	}
	return kills, nil
}

// numbers reads control files into the numbers that they are for. Files that the kernel does not have leave zero.
func (n *node) numbers(files map[string]*int64) error {
	for file, p := range files {
		v, err := readNumber(n.fd(), file)
		if absentFile(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s/%s: %w", n.path, file, err)
		}
		*p = v
	}
	return nil
}

// keys reads a control file of keys; nil if the kernel does not have it.
func (n *node) keys(file string) (map[string]uint64, error) {
	b, err := n.read(file)
	if err != nil || b == nil {
		return nil, err
	}
	return parseKeys(b), nil
}

// read reads a control file; nil if the kernel does not have it.
func (n *node) read(file string) ([]byte, error) {
	b, err := readShow(n.fd(), file, make([]byte, 2048))
	if absentFile(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", n.path, file, err)
	}
	return b, nil
}

// absentFile reports whether err says that the kernel does not have a control file, or has it turned off.
func absentFile(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP)
}

func (g *Group) statMemory(s *Stats) error {
	n, err := g.node("memory")
	if err != nil {
		return nil
	}
	m := &s.Memory
	files := map[string]*int64{"memory.current": &m.Current, "memory.peak": &m.Peak, "memory.max": &m.Limit,
		"memory.swap.current": &m.Swap, "memory.swap.max": &m.SwapLimit}
	prefix, anon, file, mapped := "", "anon", "file", "file_mapped"
	if !n.h.unified {
		files = map[string]*int64{"memory.usage_in_bytes": &m.Current, "memory.max_usage_in_bytes": &m.Peak,
			"memory.limit_in_bytes": &m.Limit, "memory.kmem.usage_in_bytes": &m.Kernel,
			"memory.memsw.limit_in_bytes": &m.SwapLimit}
		prefix, anon, file, mapped = "total_", "rss", "cache", "mapped_file"
	}
	if err := n.numbers(files); err != nil {
		return err
	}
	m.Peak = max(m.Peak, 0)
	keys, err := n.keys("memory.stat")
	if err != nil {
		return err
	}
	stat := func(key string) int64 { return int64(keys[prefix+key]) }
	m.Anon, m.File, m.InactiveFile = stat(anon), stat(file), stat("inactive_file")
	m.Shared, m.Mapped, m.Detail = stat("shmem"), stat(mapped), keys
	m.Faults, m.MajorFaults = uint64(stat("pgfault")), uint64(stat("pgmajfault"))
	if n.h.unified {
		m.Kernel = stat("kernel")
	} else {
		m.Swap = stat("swap")
	}
	if err := n.limitHits(m); err != nil {
		return err
	}
	m.OOMKills, m.OOMGroupKills, _, err = n.oomKills()
	return err
}

func (n *node) limitHits(m *Memory) error {
	if n.h.unified {
		keys, err := n.keys("memory.events")
		m.LimitHits = keys["max"]
		return err
	}
	// Where both limits are the same, it is the other that is reached.
	var memory, swap int64
	err := n.numbers(map[string]*int64{"memory.failcnt": &memory, "memory.memsw.failcnt": &swap})
	m.LimitHits = uint64(memory) + uint64(swap)
	return err
}

// hugepageSizes are the sizes of huge pages that the kernel has, as it writes them in control files.
var hugepageSizes = sync.OnceValue(func() (sizes []string) {
	folders, _ := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	for _, f := range folders {
		text := strings.TrimSuffix(filepath.Base(f)[len("hugepages-"):], "kB")
		if kb, err := strconv.ParseUint(text, 10, 40); err == nil && kb > 0 {
			sizes = append(sizes, hugepageName(kb))
		}
	}
	return sizes
})

// hugepageName names a size in KiB.
func hugepageName(kb uint64) string {
	switch {
	case kb >= 1<<20:
		return strconv.FormatUint(kb>>20, 10) + "GB"
	case kb >= 1<<10:
		return strconv.FormatUint(kb>>10, 10) + "MB"
	}
	return strconv.FormatUint(kb, 10) + "KB"
}

func (g *Group) statHugepages(s *Stats) error {
	n, err := g.node("hugetlb")
	if err != nil {
		return nil
	}
	for _, size := range hugepageSizes() {
		h, prefix := Hugepages{Limit: Unlimited}, "hugetlb."+size+"."
		current, limit := "current", "max"
		if !n.h.unified {
			current, limit = "usage_in_bytes", "limit_in_bytes"
		}
		b, err := n.read(prefix + current)
		if err != nil || b == nil {
			return err // the controller is not enabled
		}
		var failures int64
		files := map[string]*int64{prefix + current: &h.Current, prefix + "rsvd." + current: &h.Reserved,
			prefix + limit: &h.Limit}
		if n.h.unified {
			keys, err := n.keys(prefix + "events")
			if err != nil {
				return err
			}
			h.Failures = keys["max"]
		} else {
			files[prefix+"failcnt"] = &failures
		}
		if err := n.numbers(files); err != nil {
			return err
		}
		h.Failures += uint64(failures)
		if s.Hugepages == nil {
			s.Hugepages = make(map[string]Hugepages)
		}
		s.Hugepages[size] = h
	}
	return nil
}

// oomKills reads the counts of the OOM killer. known is false if the kernel does not have them.
func (n *node) oomKills() (kills, groups uint64, known bool, err error) {
	if n.h.unified {
		keys, err := n.keys("memory.events")
		if err != nil || keys == nil {
			return 0, 0, false, err
		}
		if !n.h.localEvents() {
			return keys["oom_kill"], keys["oom_group_kill"], true, nil
		}
	}
	// v1 counts each group for itself, and so does v2 if mounted with memory_localevents.
	file := "memory.oom_control"
	if n.h.unified {
		file = "memory.events"
	}
	read := func(dir int) error {
		b, err := readShow(dir, file, make([]byte, 256))
		if err != nil {
			return err
		}
		keys := parseKeys(b)
		if count, ok := keys["oom_kill"]; ok {
			known = true
			kills += count
			groups += keys["oom_group_kill"]
		}
		return nil
	}
	if isLeaf(n.fd()) {
		err = read(n.fd())
		if gone(err) {
			err = nil
		}
	} else {
		var dir int
		if dir, err = openDir(n.fd(), "."); err != nil {
			return 0, 0, false, fmt.Errorf("open %s: %w", n.path, err)
		}
		err = walk(dir, read, nil)
	}
	return kills, groups, known, wrapPath("read "+file+" of", n.path, err)
}

func (h *hierarchy) localEvents() bool {
	for _, o := range h.mount.options {
		if o == "memory_localevents" {
			return true
		}
	}
	return false
}

func (g *Group) statCPU(s *Stats) error {
	c := &s.CPU
	if n, err := g.node("cpuacct"); err == nil && !n.h.unified {
		var usage, user, system int64
		err := n.numbers(map[string]*int64{"cpuacct.usage": &usage, "cpuacct.usage_user": &user,
			"cpuacct.usage_sys": &system})
		if err != nil {
			return err
		}
		c.Usage, c.User, c.System = nanos(uint64(usage)), nanos(uint64(user)), nanos(uint64(system))
		b, err := n.read("cpuacct.usage_percpu")
		if err != nil {
			return err
		}
		if c.PerCPU, err = parsePerCPU(b); err != nil {
			return err
		}
	} else if n := g.unified(); n != nil {
		if err := n.usage(c); err != nil {
			return err
		}
	}
	return g.statThrottling(c)
}

// usage reads the time on processors that the unified hierarchy has counted, whether the cpu controller is enabled or not.
func (n *node) usage(c *CPU) error {
	keys, err := n.keys("cpu.stat")
	if err != nil {
		return err
	}
	c.Usage, c.User, c.System = micros(keys["usage_usec"]), micros(keys["user_usec"]), micros(keys["system_usec"])
	return nil
}

func (g *Group) statThrottling(c *CPU) error {
	n, err := g.node("cpu")
	if err != nil {
		return nil
	}
	keys, err := n.keys("cpu.stat")
	if err != nil {
		return err
	}
	c.Periods, c.Throttled = keys["nr_periods"], keys["nr_throttled"]
	c.Bursts = keys["nr_bursts"]
	c.ThrottledTime, c.BurstTime = micros(keys["throttled_usec"]), micros(keys["burst_usec"])
	if !n.h.unified {
		c.ThrottledTime, c.BurstTime = nanos(keys["throttled_time"]), nanos(keys["burst_time"])
	}
	return nil
}

func (g *Group) statPids(s *Stats) error {
	n, err := g.node("pids")
	if err != nil {
		return nil
	}
	if err := n.numbers(map[string]*int64{"pids.current": &s.Pids.Current, "pids.max": &s.Pids.Limit}); err != nil {
		return err
	}
	keys, err := n.keys("pids.events")
	s.Pids.Refused = keys["max"]
	return err
}

func (g *Group) statIO(s *Stats) error {
	if n, err := g.node("blkio"); err == nil {
		bytes, err := n.read("blkio.throttle.io_service_bytes_recursive")
		if err != nil {
			return err
		}
		count, err := n.read("blkio.throttle.io_serviced_recursive")
		if err != nil {
			return err
		}
		s.IO = parseBlkio(bytes, count)
		return nil
	}
	n, err := g.node("io")
	if err != nil {
		return nil
	}
	b, err := n.read("io.stat")
	s.IO = parseIO(b)
	return err
}

func (g *Group) statPressure(s *Stats) error {
	n := g.unified()
	if n == nil {
		return nil
	}
	for file, p := range map[string]**Pressure{"cpu.pressure": &s.CPUPressure, "memory.pressure": &s.MemoryPressure,
		"io.pressure": &s.IOPressure} {
		b, err := n.read(file)
		if err != nil {
			return err
		}
		if len(strings.TrimSpace(string(b))) == 0 {
			continue
		}
		if *p, err = parsePressure(b); err != nil {
			return fmt.Errorf("read %s/%s: %w", n.path, file, err)
		}
	}
	return nil
}
