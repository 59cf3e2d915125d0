package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

// resourceFlags are the flags of run for limits that are in engine.Config's Resources.
type resourceFlags struct {
	swappiness          int64
	oomKillDisable      bool
	cpu                 cpuTimes
	weight              uint16
	weights             []string
	readBps, writeBps   []string
	readIOps, writeIOps []string
	deviceRules         []string
}

func (r *resourceFlags) add(f *pflag.FlagSet) {
	f.Int64Var(&r.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.BoolVar(&r.oomKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	r.cpu.add(f)
	f.Uint16Var(&r.weight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	f.StringArrayVar(&r.weights, "blkio-weight-device", nil, "Block IO weight (relative device weight)")
	f.StringArrayVar(&r.readBps, "device-read-bps", nil, "Limit read rate (bytes per second) from a device")
	f.StringArrayVar(&r.writeBps, "device-write-bps", nil, "Limit write rate (bytes per second) to a device")
	f.StringArrayVar(&r.readIOps, "device-read-iops", nil, "Limit read rate (IO per second) from a device")
	f.StringArrayVar(&r.writeIOps, "device-write-iops", nil, "Limit write rate (IO per second) to a device")
	f.StringArrayVar(&r.deviceRules, "device-cgroup-rule", nil, "Add a rule to the cgroup allowed devices list")
}

// fillResources puts the flags into the configuration's Resources, which stays nil without any.
func (r *runFlags) fillResources() error {
	f, to := &r.resources, &cgroups.Resources{}
	given := false
	for _, name := range []string{"memory-swappiness", "oom-kill-disable", "cpu-quota", "cpu-period", "cpu-rt-runtime",
		"cpu-rt-period", "blkio-weight", "blkio-weight-device", "device-read-bps", "device-write-bps",
		"device-read-iops", "device-write-iops", "device-cgroup-rule"} {
		given = given || r.flags.Changed(name)
	}
	if !given {
		return nil
	}
	if f.swappiness != -1 {
		if f.swappiness < 0 || f.swappiness > 100 {
			return fmt.Errorf("invalid value: %d, valid memory swappiness range is 0-100", f.swappiness)
		}
		swappiness := uint64(f.swappiness)
		to.Swappiness = &swappiness
	}
	if f.oomKillDisable {
		to.OOMKillDisable = &f.oomKillDisable
	}
	if err := f.cpu.set(&to.CPUQuota, &to.CPUPeriod, &to.RealtimeRuntime, &to.RealtimePeriod); err != nil {
		return err
	}
	to.IOWeight = f.weight
	if err := f.fillDevices(to); err != nil {
		return err
	}
	for _, rule := range f.deviceRules {
		d, err := engine.ParseDeviceRule(rule)
		if err != nil {
			return err
		}
		if to.Devices == nil {
			to.Devices = cgroups.DefaultDevices()
		}
		to.Devices = append(to.Devices, d)
	}
	r.config.Resources = to
	return nil
}

func (r *resourceFlags) fillDevices(to *cgroups.Resources) error {
	bytes := func(s string) (int64, error) { return units.RAMInBytes(s) }
	count := func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }
	for _, l := range []struct {
		list  []string
		what  string
		parse func(string) (int64, error)
		set   func(d *cgroups.IODevice, n int64)
		form  string
	}{
		{r.weights, "weight", count, func(d *cgroups.IODevice, n int64) { d.Weight = uint16(min(n, 1<<16-1)) },
			"<device-path>:<number>"},
		{r.readBps, "rate", bytes, func(d *cgroups.IODevice, n int64) { d.ReadBytes = n }, "<device-path>:<number>[<unit>]"},
		{r.writeBps, "rate", bytes, func(d *cgroups.IODevice, n int64) { d.WriteBytes = n }, "<device-path>:<number>[<unit>]"},
		{r.readIOps, "rate", count, func(d *cgroups.IODevice, n int64) { d.ReadOps = n }, "<device-path>:<number>"},
		{r.writeIOps, "rate", count, func(d *cgroups.IODevice, n int64) { d.WriteOps = n }, "<device-path>:<number>"},
	} {
		for _, spec := range l.list {
			path, text, ok := strings.Cut(spec, ":")
			if !ok || !strings.HasPrefix(path, "/dev/") {
				return fmt.Errorf("bad format for device path: %s. The correct format is %s", spec, l.form)
			}
			n, err := l.parse(text)
			if err != nil || n <= 0 {
				return fmt.Errorf("invalid %s for device: %s. The correct format is %s, the number above 0", l.what, spec, l.form)
			}
			node, err := namespace.DeviceAt(path)
			if err != nil {
				return err
			}
			if !node.Block {
				return fmt.Errorf("%s is not a block device", path)
			}
			major, minor := int64(node.Major), int64(node.Minor)
			i := slices.IndexFunc(to.IODevices, func(d cgroups.IODevice) bool { return d.Major == major && d.Minor == minor })
			if i < 0 {
				i = len(to.IODevices)
				to.IODevices = append(to.IODevices, cgroups.IODevice{Major: major, Minor: minor})
			}
			l.set(&to.IODevices[i], n)
		}
	}
	return nil
}

// cpuTimes are flags in microseconds.
type cpuTimes struct{ quota, period, rtRuntime, rtPeriod int64 }

func (t *cpuTimes) add(f *pflag.FlagSet) {
	f.Int64Var(&t.quota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&t.period, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&t.rtRuntime, "cpu-rt-runtime", 0, "Limit the CPU real-time runtime in microseconds")
	f.Int64Var(&t.rtPeriod, "cpu-rt-period", 0, "Limit the CPU real-time period in microseconds")
}

func (t *cpuTimes) set(quota, period, rtRuntime, rtPeriod *time.Duration) error {
	return cmp.Or(setMicros(quota, "cpu-quota", t.quota), setMicros(period, "cpu-period", t.period),
		setMicros(rtRuntime, "cpu-rt-runtime", t.rtRuntime), setMicros(rtPeriod, "cpu-rt-period", t.rtPeriod))
}

// setMicros sets what a flag says in microseconds. -1 is no limit, of those that can have none.
func setMicros(to *time.Duration, flag string, micros int64) error {
	switch {
	case micros == -1 && (flag == "cpu-quota" || flag == "cpu-rt-runtime"):
		*to = cgroups.Unlimited
	case micros < 0 || micros > int64(time.Hour/time.Microsecond):
		return fmt.Errorf("invalid argument %d for --%s: it is not a time in microseconds up to an hour", micros, flag)
	default:
		*to = time.Duration(micros) * time.Microsecond
	}
	return nil
}
