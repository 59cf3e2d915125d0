package cgroups

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScopeProperties(t *testing.T) {
	names := func(r *Resources, unified bool) map[string]any {
		all := make(map[string]any)
		for _, p := range scopeProperties(r, unified) {
			all[p.name] = p.value
		}
		return all
	}
	r := &Resources{Memory: 64 << 20, MemorySwap: 96 << 20, MemoryReservation: 32 << 20, CPUQuota: 15 * time.Millisecond,
		CPUPeriod: 10 * time.Millisecond, CPUShares: 1024, CPUs: "0-2,9", Mems: "0", Pids: 9, IOWeight: 100}
	require.Equal(t, map[string]any{
		"MemoryMax": uint64(64 << 20), "MemorySwapMax": uint64(32 << 20), "MemoryLow": uint64(32 << 20),
		"CPUQuotaPerSecUSec": uint64(1_500_000), "CPUQuotaPeriodUSec": uint64(10_000), "CPUWeight": uint64(100),
		"AllowedCPUs": []byte{0b111, 0b10}, "AllowedMemoryNodes": []byte{1}, "TasksMax": uint64(9), "IOWeight": IOWeight(100),
	}, names(r, true))
	require.Equal(t, map[string]any{
		"MemoryLimit": uint64(64 << 20), "CPUQuotaPerSecUSec": uint64(1_500_000), "CPUQuotaPeriodUSec": uint64(10_000),
		"CPUShares": uint64(1024), "TasksMax": uint64(9), "BlockIOWeight": uint64(100),
	}, names(r, false))

	none := &Resources{Memory: Unlimited, MemorySwap: Unlimited, MemoryReservation: Unlimited, CPUQuota: Unlimited, Pids: Unlimited}
	const most = uint64(math.MaxUint64)
	require.Equal(t, map[string]any{
		"MemoryMax": most, "MemorySwapMax": most, "MemoryLow": uint64(0), "CPUQuotaPerSecUSec": most, "TasksMax": most,
	}, names(none, true))
	require.Empty(t, names(nil, true))
	require.Empty(t, names(&Resources{}, false))
	require.NotContains(t, names(&Resources{MemorySwap: 64 << 20}, true), "MemorySwapMax", "what memory is limited to is not known")

	// Rounded up to what systemd can write.
	require.Equal(t, uint64(340_000), quotaPerSecond(time.Second/3, time.Second))
	require.Equal(t, uint64(20_000), quotaPerSecond(2*time.Millisecond, 0))
}
