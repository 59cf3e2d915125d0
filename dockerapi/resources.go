package dockerapi

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container/cdi"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

// addResources translates the limits.
func addResources(c *engine.Config, r *container.Resources) error {
	if err := refuse("HostConfig", map[string]bool{
		"CpuCount": r.CPUCount != 0, "CpuPercent": r.CPUPercent != 0, "IOMaximumIOps": r.IOMaximumIOps != 0, "IOMaximumBandwidth": r.IOMaximumBandwidth != 0,
	}); err != nil {
		return err
	}
	for field, n := range map[string]int64{"Memory": r.Memory, "MemoryReservation": r.MemoryReservation, "CpuShares": r.CPUShares, "NanoCpus": r.NanoCPUs} {
		if n < 0 {
			return badRequest("invalid HostConfig.%s: %d is less than 0", field, n)
		}
	}
	if r.NanoCPUs != 0 && (r.CPUQuota != 0 || r.CPUPeriod != 0) {
		return badRequest("conflicting options: Nano CPUs and a quota or period of CPU time cannot both be set")
	}
	c.Memory, c.MemorySwap, c.MemoryReservation = r.Memory, r.MemorySwap, r.MemoryReservation
	c.CPUs, c.CPUShares = float64(r.NanoCPUs)/1e9, uint64(r.CPUShares)
	c.CpusetCPUs, c.CpusetMems = r.CpusetCpus, r.CpusetMems
	if p := r.PidsLimit; p != nil && *p > 0 {
		c.PidsLimit = *p
	}
	for _, u := range r.Ulimits {
		if u != nil {
			c.Ulimits = append(c.Ulimits, engine.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
		}
	}
	if err := addDevices(c, r); err != nil {
		return err
	}
	return addFurther(c, r)
}

// addFurther translates the limits that are in the configuration's Resources, which stays nil without any.
func addFurther(c *engine.Config, r *container.Resources) error {
	to := &cgroups.Resources{IOWeight: r.BlkioWeight, OOMKillDisable: r.OomKillDisable}
	if r.OomKillDisable != nil && !*r.OomKillDisable {
		to.OOMKillDisable = nil
	}
	if n := r.MemorySwappiness; n != nil && *n != -1 {
		if *n < 0 || *n > 100 {
			return badRequest("invalid value: %d, valid memory swappiness range is 0-100", *n)
		}
		swappiness := uint64(*n)
		to.Swappiness = &swappiness
	}
	for _, t := range []struct {
		field  string
		micros int64
		to     *time.Duration
	}{
		{"CpuQuota", r.CPUQuota, &to.CPUQuota}, {"CpuPeriod", r.CPUPeriod, &to.CPUPeriod},
		{"CpuRealtimeRuntime", r.CPURealtimeRuntime, &to.RealtimeRuntime}, {"CpuRealtimePeriod", r.CPURealtimePeriod, &to.RealtimePeriod},
	} {
		switch {
		case t.micros == -1 && t.field != "CpuPeriod" && t.field != "CpuRealtimePeriod":
			*t.to = cgroups.Unlimited
		case t.micros < 0 || t.micros > int64(time.Hour/time.Microsecond):
			return badRequest("invalid HostConfig.%s: %d is not a time in microseconds up to an hour", t.field, t.micros)
		default:
			*t.to = time.Duration(t.micros) * time.Microsecond
		}
	}
	if err := addBlockIO(to, r); err != nil {
		return err
	}
	for _, text := range r.DeviceCgroupRules {
		rule, err := engine.ParseDeviceRule(text)
		if err != nil {
			return err
		}
		if to.Devices == nil {
			to.Devices = cgroups.DefaultDevices()
		}
		to.Devices = append(to.Devices, rule)
	}
	if to.IOWeight != 0 || to.OOMKillDisable != nil || to.Swappiness != nil || to.CPUQuota != 0 || to.CPUPeriod != 0 || to.RealtimeRuntime != 0 ||
		to.RealtimePeriod != 0 || len(to.IODevices) > 0 || len(to.Devices) > 0 {
		c.Resources = to
	}
	return nil
}

func addBlockIO(to *cgroups.Resources, r *container.Resources) error {
	device := func(field, path string, n uint64, set func(*cgroups.IODevice)) error {
		node, err := namespace.DeviceAt(path)
		if err != nil || !node.Block {
			return badRequest("invalid HostConfig.%s: %q is not a block device", field, path)
		}
		if n == 0 || n > 1<<62 {
			return badRequest("invalid HostConfig.%s: %d for %s", field, n, path)
		}
		major, minor := int64(node.Major), int64(node.Minor)
		i := slices.IndexFunc(to.IODevices, func(d cgroups.IODevice) bool { return d.Major == major && d.Minor == minor })
		if i < 0 {
			i = len(to.IODevices)
			to.IODevices = append(to.IODevices, cgroups.IODevice{Major: major, Minor: minor})
		}
		set(&to.IODevices[i])
		return nil
	}
	for _, d := range r.BlkioWeightDevice {
		if d == nil {
			continue
		}
		if err := device("BlkioWeightDevice", d.Path, uint64(d.Weight), func(x *cgroups.IODevice) { x.Weight = d.Weight }); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		field string
		list  []*blkiodev.ThrottleDevice
		set   func(*cgroups.IODevice, int64)
	}{
		{"BlkioDeviceReadBps", r.BlkioDeviceReadBps, func(x *cgroups.IODevice, n int64) { x.ReadBytes = n }},
		{"BlkioDeviceWriteBps", r.BlkioDeviceWriteBps, func(x *cgroups.IODevice, n int64) { x.WriteBytes = n }},
		{"BlkioDeviceReadIOps", r.BlkioDeviceReadIOps, func(x *cgroups.IODevice, n int64) { x.ReadOps = n }},
		{"BlkioDeviceWriteIOps", r.BlkioDeviceWriteIOps, func(x *cgroups.IODevice, n int64) { x.WriteOps = n }},
	} {
		for _, d := range l.list {
			if d == nil {
				continue
			}
			if err := device(l.field, d.Path, d.Rate, func(x *cgroups.IODevice) { l.set(x, int64(d.Rate)) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func addDevices(c *engine.Config, r *container.Resources) error {
	for _, d := range r.Devices {
		if d.PathInContainer == "" && cdi.IsName(d.PathOnHost) {
			c.CDIDevices = append(c.CDIDevices, d.PathOnHost)
			continue
		}
		spec := d.PathOnHost
		if d.PathInContainer != "" {
			spec += ":" + d.PathInContainer
		}
		if d.CgroupPermissions != "" {
			spec += ":" + d.CgroupPermissions
		}
		all, err := engine.ParseDevice(spec)
		if err != nil {
			return err
		}
		c.Devices = append(c.Devices, all...)
	}
	for _, q := range r.DeviceRequests {
		if len(q.Options) > 0 {
			return notImplemented("HostConfig.DeviceRequests.Options")
		}
		if isGPU := func(all []string) bool { return slices.Contains(all, "gpu") }; q.Driver == "" && !slices.ContainsFunc(q.Capabilities, isGPU) {
			return badRequest("could not select device driver \"\" with capabilities: %v", q.Capabilities)
		}
		g := &engine.GPURequest{Driver: q.Driver, Count: q.Count, IDs: q.DeviceIDs}
		names, err := g.CDI()
		if err != nil {
			return err
		}
		c.CDIDevices = append(c.CDIDevices, names...)
	}
	return nil
}
