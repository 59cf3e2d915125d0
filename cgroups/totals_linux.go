package cgroups

import "fmt"

// Totals reads what the kernel summed up over the group's life: the peak of memory, OOM kills and hits of the limit, time on
// processors, what was throttled or refused, and IO. That is what is left to know of a group whose processes have
// ended. What is in use now, the limits, page faults, pressure, Detail, PerCPU and Hugepages are as if there were none; for
// those [Group.Stats] reads four times as many files. On a hybrid host the time on processors is that of the unified hierarchy.
func (g *Group) Totals() (*Stats, error) {
	if err := g.acquire("read statistics of"); err != nil {
		return nil, err
	}
	defer g.mu.RUnlock()
	s := newStats()
	for _, read := range []func(*Stats) error{g.totalMemory, g.totalCPU, g.totalPids, g.statIO} {
		if err := read(s); err != nil {
			return nil, fmt.Errorf("statistics of group %s: %w", g.name, err)
		}
	}
	return s, nil
}

func (g *Group) totalMemory(s *Stats) error {
	n, err := g.node("memory")
	if err != nil {
		return nil
	}
	m := &s.Memory
	file := "memory.peak"
	if !n.h.unified {
		file = "memory.max_usage_in_bytes"
	}
	if err := n.numbers(map[string]*int64{file: &m.Peak}); err != nil {
		return err
	}
	m.Peak = max(m.Peak, 0)
	if err := n.limitHits(m); err != nil {
		return err
	}
	m.OOMKills, m.OOMGroupKills, _, err = n.oomKills()
	return err
}

func (g *Group) totalCPU(s *Stats) error {
	c := &s.CPU
	n := g.unified()
	if n == nil {
		return g.statCPU(s)
	}
	if err := n.usage(c); err != nil || c.Usage == 0 {
		return g.statCPU(s)
	}
	return g.statThrottling(c)
}

func (g *Group) totalPids(s *Stats) error {
	n, err := g.node("pids")
	if err != nil {
		return nil
	}
	keys, err := n.keys("pids.events")
	s.Pids.Refused = keys["max"]
	return err
}
