package cgroups

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"github.com/godbus/dbus/v5"
)

// withBandwidth completes an update of the quota or the period alone by the other one, since systemd has a share of a second. What
// the running version does not tell stays zero.
func (c *systemdConn) withBandwidth(ctx context.Context, unit string, r *Resources) (*Resources, error) {
	if r == nil || (r.CPUQuota > 0) == (r.CPUPeriod > 0) || r.CPUQuota < 0 {
		return r, nil
	}
	period, err := c.duration(ctx, unit, "CPUQuotaPeriodUSec")
	if err != nil {
		return nil, err
	}
	full := *r
	if r.CPUQuota > 0 {
		full.CPUPeriod = period
		return &full, nil
	}
	share, err := c.duration(ctx, unit, "CPUQuotaPerSecUSec")
	if share > 0 {
		full.CPUQuota = time.Duration(share.Seconds() * float64(cmp.Or(period, DefaultCPUPeriod)))
	}
	return &full, err
}

// duration reads a property in microseconds. It is 0 if there is none, or it is without end.
func (c *systemdConn) duration(ctx context.Context, unit, property string) (time.Duration, error) {
	n, err := c.number(ctx, unit, property)
	if err != nil || n > math.MaxInt64/1000 {
		return 0, err
	}
	return time.Duration(n) * time.Microsecond, nil
}

// number reads a property of a scope. It is the greatest number if there is none.
func (c *systemdConn) number(ctx context.Context, unit, property string) (uint64, error) {
	path, err := c.unit(ctx, unit)
	if err != nil {
		return 0, err
	}
	v, err := c.property(ctx, path, systemdScope, property)
	var de dbus.Error
	if errors.As(err, &de) { // an older version
		return math.MaxUint64, nil
	}
	n, ok := v.Value().(uint64)
	if !ok {
		n = math.MaxUint64
	}
	return n, err
}
