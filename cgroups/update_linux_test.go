package cgroups

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// value returns the content of the first of the control files that exists in the group's directory for the controller.
func value(t testing.TB, g *Group, controller string, files ...string) string {
	t.Helper()
	n, err := g.node(controller)
	require.NoError(t, err)
	for _, f := range files {
		if b, err := os.ReadFile(n.path + "/" + f); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatalf("%s has none of %v", n.path, files)
	return ""
}

func TestLimitsAreSet(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, everything())
	require.Equal(t, "67108864", value(t, g, "memory", "memory.max", "memory.limit_in_bytes"))
	require.Equal(t, "33554432", value(t, g, "memory", "memory.low", "memory.soft_limit_in_bytes"))
	require.Equal(t, "0", value(t, g, "cpuset", "cpuset.cpus"))
	require.Equal(t, "0", value(t, g, "cpuset", "cpuset.mems"))
	require.Equal(t, "100", value(t, g, "pids", "pids.max"))
	if n, err := g.node("cpu"); err == nil && n.h.unified {
		require.Equal(t, "50000 50000", value(t, g, "cpu", "cpu.max"))
		require.Equal(t, itoa(int64(Weight(512))), value(t, g, "cpu", "cpu.weight"))
	} else {
		require.Equal(t, "50000", value(t, g, "cpu", "cpu.cfs_quota_us"))
		require.Equal(t, "50000", value(t, g, "cpu", "cpu.cfs_period_us"))
		require.Equal(t, "512", value(t, g, "cpu", "cpu.shares"))
	}

	require.NoError(t, g.Update(&Resources{CPUQuota: 20 * time.Millisecond, Pids: Unlimited}))
	require.Equal(t, "max", value(t, g, "pids", "pids.max"))
	require.NoError(t, g.Update(&Resources{CPUPeriod: 100 * time.Millisecond}))
	require.NoError(t, g.Update(&Resources{CPUQuota: 2 * time.Millisecond, CPUPeriod: 2 * time.Millisecond}))
	require.Contains(t, []string{"2000 2000", "2000"}, value(t, g, "cpu", "cpu.max", "cpu.cfs_quota_us"))
	require.NoError(t, g.Update(&Resources{CPUQuota: Unlimited}))
	require.Contains(t, []string{"max 2000", "-1"}, value(t, g, "cpu", "cpu.max", "cpu.cfs_quota_us"))
	require.Equal(t, "67108864", value(t, g, "memory", "memory.max", "memory.limit_in_bytes"), "others stay")
}

func TestCpusetInherited(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, nil)
	newHelper(t, g, "cg-sleep")
	if m.Mode() == V2 {
		return // there it is the kernel that has an empty list mean the parent's
	}
	require.NotEmpty(t, value(t, g, "cpuset", "cpuset.cpus"))
	require.NotEmpty(t, value(t, g, "cpuset", "cpuset.mems"))
}

// swapLimits returns what is in force in memory, and memory and swap together.
func swapLimits(t testing.TB, g *Group) memoryLimits {
	t.Helper()
	n, err := g.node("memory")
	require.NoError(t, err)
	now, err := n.memoryLimitsNow()
	require.NoError(t, err)
	return now
}

// TestMemoryAndSwap changes both limits up and down, in one step each, which needs another order each time on v1.
func TestMemoryAndSwap(t *testing.T) {
	m := newManager(t)
	const mib = 1 << 20
	g := newGroup(t, m, &Resources{Memory: 64 * mib, MemorySwap: 128 * mib})
	if swapLimits(t, g).total == Unlimited {
		t.Skip("swap is not counted here")
	}
	require.Equal(t, memoryLimits{64 * mib, 128 * mib}, swapLimits(t, g))
	for _, step := range []struct {
		r    Resources
		want memoryLimits
	}{
		{Resources{Memory: 256 * mib, MemorySwap: 512 * mib}, memoryLimits{256 * mib, 512 * mib}},
		{Resources{Memory: 32 * mib, MemorySwap: 32 * mib}, memoryLimits{32 * mib, 32 * mib}},
		{Resources{MemorySwap: 64 * mib}, memoryLimits{32 * mib, 64 * mib}},
		{Resources{Memory: 48 * mib}, memoryLimits{48 * mib, 64 * mib}},
		{Resources{Memory: 64 * mib, MemorySwap: Unlimited}, memoryLimits{64 * mib, Unlimited}},
		{Resources{Memory: 128 * mib}, memoryLimits{128 * mib, Unlimited}},
		{Resources{Memory: 64 * mib, MemorySwap: 64 * mib}, memoryLimits{64 * mib, 64 * mib}},
		{Resources{Memory: Unlimited, MemorySwap: Unlimited}, memoryLimits{Unlimited, Unlimited}},
	} {
		require.NoError(t, g.Update(&step.r), "%+v", step.r)
		require.Equal(t, step.want, swapLimits(t, g), "%+v", step.r)
	}
	require.NoError(t, g.Update(&Resources{Memory: 64 * mib, MemorySwap: 64 * mib}))
	for field, r := range map[string]*Resources{
		"Memory":     {Memory: 65 * mib},
		"MemorySwap": {MemorySwap: 63 * mib},
	} {
		var re *ResourceError
		require.ErrorAs(t, g.Update(r), &re)
		require.Equal(t, field, re.Field)
	}
	require.Equal(t, memoryLimits{64 * mib, 64 * mib}, swapLimits(t, g))
}

// TestMemoryBelowUse: a limit below what is used is refused and kills nobody, on v2 as on v1.
func TestMemoryBelowUse(t *testing.T) {
	m := newManager(t)
	g := newGroup(t, m, &Resources{Memory: 128 << 20, MemorySwap: 128 << 20})
	h := newHelper(t, g, "cg-hog", "64")
	h.say("go")
	require.Equal(t, "done", h.line())
	err := g.Update(&Resources{Memory: 16 << 20})
	require.ErrorIs(t, err, ErrBusy)
	var re *ResourceError
	require.ErrorAs(t, err, &re)
	require.Equal(t, "Memory", re.Field)
	kills, err := g.OOMKills()
	require.NoError(t, err)
	require.Zero(t, kills)
	pids, err := g.Pids()
	require.NoError(t, err)
	require.Len(t, pids, 1)
	require.NoError(t, g.Update(&Resources{Memory: 100 << 20}))
}
