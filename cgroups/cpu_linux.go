package cgroups

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuWant is the field that needs the cpu controller; none has an empty field.
func (r *Resources) cpuWant() want {
	switch {
	case r.CPUShares != 0:
		return want{"cpu", "CPUShares", r.CPUShares}
	case r.CPUQuota != 0:
		return want{"cpu", "CPUQuota", r.CPUQuota}
	case r.CPUPeriod != 0:
		return want{"cpu", "CPUPeriod", r.CPUPeriod}
	case r.CPUBurst != 0:
		return want{"cpu", "CPUBurst", r.CPUBurst}
	case r.CPUIdle != nil:
		return want{"cpu", "CPUIdle", *r.CPUIdle}
	case r.RealtimeRuntime != 0:
		return want{"cpu", "RealtimeRuntime", r.RealtimeRuntime}
	case r.RealtimePeriod != 0:
		return want{"cpu", "RealtimePeriod", r.RealtimePeriod}
	}
	return want{}
}

func (n *node) setIdle(idle bool) error {
	s := setting{"CPUIdle", idle, "cpu.idle", "0"}
	if idle {
		s.text = "1"
	}
	err := n.set(s)
	if !idle && errors.Is(err, errors.ErrUnsupported) {
		return nil // Linux < 5.15: no group is idle
	}
	return err
}

// adviseShares explains what the kernel says when the group is idle.
func (n *node) adviseShares(err error) error {
	var re *ResourceError
	if !errors.As(err, &re) || !errors.Is(err, unix.EINVAL) {
		return err
	}
	if idle, readErr := readNumber(n.fd(), "cpu.idle"); readErr == nil && idle == 1 {
		re.Err = fmt.Errorf("%w (the group is idle: set CPUIdle to false with it)", re.Err)
	}
	return err
}

// applyBandwidth sets quota, period and burst. The kernel wants the burst not above the quota at any time: so it goes
// first when the quota sinks, and last when it rises.
func (n *node) applyBandwidth(r *Resources, update bool) error {
	late := r.CPUBurst != 0
	if r.CPUBurst != 0 && update {
		err := n.setBurst(r)
		if err != nil && (r.CPUQuota == 0 || !errors.Is(err, unix.EINVAL)) {
			return err
		}
		late = err != nil
	}
	if r.CPUQuota != 0 || r.CPUPeriod != 0 {
		period := r.CPUPeriod
		if period == 0 && !update {
			period = DefaultCPUPeriod
		}
		set := n.setBandwidth1
		if n.h.unified {
			set = n.setBandwidth2
		}
		if err := set(r, period); err != nil {
			return n.adviseBurst(r, err)
		}
	}
	if late {
		return n.setBurst(r)
	}
	return nil
}

func (n *node) burstFile() string {
	if n.h.unified {
		return "cpu.max.burst"
	}
	return "cpu.cfs_burst_us"
}

func (n *node) setBurst(r *Resources) error {
	burst := max(r.CPUBurst, 0).Microseconds()
	return n.set(setting{"CPUBurst", r.CPUBurst, n.burstFile(), itoa(burst)})
}

// adviseBurst explains what the kernel says when a quota would be below the burst in force.
func (n *node) adviseBurst(r *Resources, err error) error {
	var re *ResourceError
	if r.CPUBurst != 0 || r.CPUQuota <= 0 || !errors.As(err, &re) || !errors.Is(err, unix.EINVAL) {
		return err
	}
	burst, readErr := readNumber(n.fd(), n.burstFile())
	if readErr == nil && micros(uint64(max(burst, 0))) > r.CPUQuota {
		re.Err = fmt.Errorf("%w (it is below the CPUBurst in force, %d µs: set that too)", re.Err, burst)
	}
	return err
}

// applyRealtime sets how much processes with a realtime policy may run.
func (n *node) applyRealtime(r *Resources) error {
	if r.RealtimePeriod == 0 && r.RealtimeRuntime == 0 {
		return nil
	}
	ps := setting{"RealtimePeriod", r.RealtimePeriod, "cpu.rt_period_us", itoa(r.RealtimePeriod.Microseconds())}
	rs := setting{"RealtimeRuntime", r.RealtimeRuntime, "cpu.rt_runtime_us", "-1"}
	if r.RealtimeRuntime > 0 {
		rs.text = itoa(r.RealtimeRuntime.Microseconds())
	}
	if n.h.unified {
		if r.RealtimeRuntime != 0 {
			return n.onlyV1(rs.field, rs.value, "cpu")
		}
		return n.onlyV1(ps.field, ps.value, "cpu")
	}
	var periodErr error
	if r.RealtimePeriod != 0 {
		periodErr = n.set(ps)
		if periodErr != nil && (r.RealtimeRuntime == 0 || !errors.Is(periodErr, unix.EINVAL)) {
			return adviseRealtime(periodErr)
		}
	}
	if r.RealtimeRuntime != 0 {
		if err := n.set(rs); err != nil {
			return adviseRealtime(err)
		}
	}
	if periodErr != nil {
		// The new period was too short for the old runtime; with the new one it may do.
		return adviseRealtime(n.set(ps))
	}
	return nil
}

// adviseRealtime explains what the kernel says when the shares of the groups do not fit into that of the one above.
func adviseRealtime(err error) error {
	var re *ResourceError
	if errors.As(err, &re) && errors.Is(err, unix.EINVAL) {
		re.Err = fmt.Errorf("%w (more than the group above has left? its cpu.rt_runtime_us is to be set first)", re.Err)
	}
	return err
}

func (n *node) setBandwidth2(r *Resources, period time.Duration) error {
	s := setting{"CPUQuota", r.CPUQuota, "cpu.max", "max"}
	switch {
	case r.CPUQuota > 0:
		s.text = itoa(r.CPUQuota.Microseconds())
	case r.CPUQuota == 0: // keep it
		s.field, s.value = "CPUPeriod", r.CPUPeriod
		b, err := readFile(n.fd(), "cpu.max")
		if err != nil {
			return fieldError(s.field, s.value, fmt.Errorf("read %s/cpu.max: %w", n.path, err))
		}
		s.text, _, _ = strings.Cut(string(b), " ")
	}
	if period > 0 {
		s.text += " " + itoa(period.Microseconds())
	}
	return n.set(s)
}

func (n *node) setBandwidth1(r *Resources, period time.Duration) error {
	ps := setting{"CPUPeriod", period, "cpu.cfs_period_us", itoa(period.Microseconds())}
	qs := setting{"CPUQuota", r.CPUQuota, "cpu.cfs_quota_us", "-1"}
	if r.CPUQuota > 0 {
		qs.text = itoa(r.CPUQuota.Microseconds())
	}
	var periodErr error
	if period > 0 {
		periodErr = n.set(ps)
		if periodErr != nil && (r.CPUQuota == 0 || !errors.Is(periodErr, unix.EINVAL)) {
			return periodErr
		}
	}
	if r.CPUQuota != 0 {
		if err := n.set(qs); err != nil {
			return adviseQuota(err)
		}
	}
	if periodErr != nil {
		// The new period was too short for the old quota; with the new one it may do.
		return n.set(ps)
	}
	return nil
}

// adviseQuota explains what v1 says when a group would get more than the one above it has.
func adviseQuota(err error) error {
	var re *ResourceError
	if errors.As(err, &re) && errors.Is(err, unix.EINVAL) {
		re.Err = fmt.Errorf("%w (more than a group above has?)", re.Err)
	}
	return err
}
