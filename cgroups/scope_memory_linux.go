package cgroups

import (
	"context"
	"math"
)

// withSwap completes an update of the memory, or of memory and swap together, alone by the other one in force: on v2 systemd has a
// limit on swap alone, which changes with either, as the group's own does. What the running version does not tell stays zero.
func (c *systemdConn) withSwap(ctx context.Context, unit string, r *Resources) (*Resources, error) {
	if r == nil || !unifiedMounted() || (r.Memory > 0) == (r.MemorySwap > 0) || r.Memory < 0 || r.MemorySwap < 0 {
		return r, nil
	}
	memory, err := c.number(ctx, unit, "MemoryMax")
	if err != nil || memory > math.MaxInt64 {
		return r, err
	}
	full := *r
	if r.MemorySwap > 0 {
		full.Memory = int64(memory)
		return &full, nil
	}
	swap, err := c.number(ctx, unit, "MemorySwapMax")
	if total := memory + swap; swap <= math.MaxInt64 && total <= math.MaxInt64 && int64(total) >= r.Memory {
		full.MemorySwap = int64(total)
	}
	return &full, err
}
