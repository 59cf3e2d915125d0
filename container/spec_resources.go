package container

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
)

// SpecResources translates the limits of an OCI configuration, its linux.resources, for Container.Resources or
// Container.Update. nil gives nil. What the specification says to be left alone, nil, or 0 where that is no limit,
// stays so; -1 lifts a limit.
//
// An error is a [*cgroups.ResourceError] whose Field is the path in the configuration, such as
// "linux.resources.memory.limit". It satisfies errors.ErrUnsupported for what no kernel since Linux 5.10 can do:
// leaf weights, and memory.useHierarchy false. memory.kernel, which the specification lets runtimes ignore, is;
// memory.checkBeforeUpdate is the way that an update always goes here. Device rules follow a rule that denies
// everything, and are followed by those of cgroups.DefaultDevices, as runc has it. See [SpecField] for errors of Start.
func SpecResources(r *specs.LinuxResources) (*cgroups.Resources, error) {
	if r == nil {
		return nil, nil
	}
	t := &translation{to: &cgroups.Resources{}}
	t.memory(r.Memory)
	t.cpu(r.CPU)
	if r.Pids != nil && r.Pids.Limit != nil {
		t.to.Pids = t.limit("pids.limit", *r.Pids.Limit)
	}
	t.blockIO(r.BlockIO)
	t.hugepages(r.HugepageLimits)
	t.rdma(r.Rdma)
	t.network(r.Network)
	t.to.Unified = maps.Clone(r.Unified)
	t.devices(r.Devices)
	if t.err == nil {
		t.err = t.to.Validate()
	}
	if t.err != nil {
		return nil, inSpec(t.err)
	}
	return t.to, nil
}

// inSpec gives a ResourceError's field the name that it has in an OCI configuration.
func inSpec(err error) error {
	var re *cgroups.ResourceError
	if !errors.As(err, &re) {
		return err
	}
	return &cgroups.ResourceError{Field: SpecField(re.Field), Value: re.Value, Err: re.Err}
}

// SpecField returns the path in an OCI configuration of a field of cgroups.Resources, as [cgroups.ResourceError] and
// the Path of a StartError name it: "linux.resources.memory.limit" for "Memory" or "Resources.Memory". A name that it
// does not know, or that is such a path, is returned as it is.
func SpecField(field string) string {
	field = strings.TrimPrefix(field, "Resources.")
	name, rest := field, ""
	if i := strings.IndexByte(field, '['); i >= 0 {
		name, rest = field[:i], field[i:]
	}
	_, part, _ := strings.Cut(rest, "].")
	if path, ok := specFields()[name+"."+part]; ok && part != "" {
		return "linux.resources." + path + rest[:strings.IndexByte(rest, ']')+1]
	}
	if path, ok := specFields()[name]; ok {
		return "linux.resources." + path + rest
	}
	return field
}

func specFields() map[string]string {
	return map[string]string{
		"Memory": "memory.limit", "MemorySwap": "memory.swap", "MemoryReservation": "memory.reservation",
		"KernelTCPMemory": "memory.kernelTCP", "Swappiness": "memory.swappiness", "OOMKillDisable": "memory.disableOOMKiller",
		"CPUShares": "cpu.shares", "CPUQuota": "cpu.quota", "CPUPeriod": "cpu.period", "CPUBurst": "cpu.burst",
		"CPUIdle": "cpu.idle", "RealtimeRuntime": "cpu.realtimeRuntime", "RealtimePeriod": "cpu.realtimePeriod",
		"CPUs": "cpu.cpus", "Mems": "cpu.mems", "Pids": "pids.limit",
		"IOWeight": "blockIO.weight", "IODevices": "blockIO", "IODevices.Weight": "blockIO.weightDevice",
		"IODevices.ReadBytes": "blockIO.throttleReadBpsDevice", "IODevices.WriteBytes": "blockIO.throttleWriteBpsDevice",
		"IODevices.ReadOps": "blockIO.throttleReadIOPSDevice", "IODevices.WriteOps": "blockIO.throttleWriteIOPSDevice",
		"Hugepages": "hugepageLimits", "RDMA": "rdma", "RDMA.Handles": "rdma.hcaHandles", "RDMA.Objects": "rdma.hcaObjects",
		"NetClass": "network.classID", "NetPriorities": "network.priorities", "Unified": "unified", "Devices": "devices",
	}
}

// A translation collects limits, and the first error.
type translation struct {
	to  *cgroups.Resources
	err error
}

func (t *translation) fail(field string, value any, err error) {
	if t.err == nil {
		t.err = &cgroups.ResourceError{Field: "linux.resources." + field, Value: fmt.Sprint(value), Err: err}
	}
}

// limit takes a number of which each negative one but -1 is wrong.
func (t *translation) limit(field string, n int64) int64 {
	if n < cgroups.Unlimited {
		t.fail(field, n, errors.New("is negative"))
	}
	return n
}

// unsigned takes a number for an int64.
func (t *translation) unsigned(field string, n uint64) int64 {
	if n > math.MaxInt64 {
		t.fail(field, n, errors.New("is above 9223372036854775807"))
		return 0
	}
	return int64(n)
}

// rate takes a rate, of which 0 lifts the limit.
func (t *translation) rate(field string, n uint64) int64 {
	if n == 0 {
		return cgroups.Unlimited
	}
	return t.unsigned(field, n)
}

// micros takes a time in microseconds.
func (t *translation) micros(field string, n int64) time.Duration {
	if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
		t.fail(field, n, errors.New("is above 9223372036854775 µs"))
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// lifted takes a time of which a negative one lifts the limit.
func (t *translation) lifted(field string, n int64) time.Duration {
	if n < 0 {
		return cgroups.Unlimited
	}
	return t.micros(field, n)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (t *translation) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	t.to.Memory = t.limit("memory.limit", value(m.Limit))
	t.to.MemorySwap = t.limit("memory.swap", value(m.Swap))
	t.to.MemoryReservation = t.limit("memory.reservation", value(m.Reservation))
	t.to.KernelTCPMemory = t.limit("memory.kernelTCP", value(m.KernelTCP))
	t.to.Swappiness, t.to.OOMKillDisable = m.Swappiness, m.DisableOOMKiller
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		t.fail("memory.useHierarchy", false, fmt.Errorf("controller memory always counts groups below: %w",
			errors.ErrUnsupported))
	}
}

func (t *translation) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	t.to.CPUShares, t.to.CPUs, t.to.Mems = value(c.Shares), c.Cpus, c.Mems
	t.to.CPUQuota = t.lifted("cpu.quota", value(c.Quota))
	t.to.CPUPeriod = t.micros("cpu.period", t.unsigned("cpu.period", value(c.Period)))
	if c.Burst != nil {
		t.to.CPUBurst = cgroups.Unlimited
		if *c.Burst != 0 {
			t.to.CPUBurst = t.micros("cpu.burst", t.unsigned("cpu.burst", *c.Burst))
		}
	}
	t.to.RealtimeRuntime = t.lifted("cpu.realtimeRuntime", value(c.RealtimeRuntime))
	t.to.RealtimePeriod = t.micros("cpu.realtimePeriod", t.unsigned("cpu.realtimePeriod", value(c.RealtimePeriod)))
	if c.Idle != nil {
		if *c.Idle != 0 && *c.Idle != 1 {
			t.fail("cpu.idle", *c.Idle, errors.New("is not 0 or 1"))
		}
		idle := *c.Idle == 1
		t.to.CPUIdle = &idle
	}
}

func (t *translation) blockIO(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	leaf := fmt.Errorf("controller blkio has no leaf weights since CFQ went in Linux 5.0: %w", errors.ErrUnsupported)
	if w := value(b.LeafWeight); w != 0 {
		t.fail("blockIO.leafWeight", w, leaf)
	}
	t.to.IOWeight = value(b.Weight)
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("blockIO.weightDevice[%d]", i)
		if w := value(d.LeafWeight); w != 0 {
			t.fail(field+".leafWeight", w, leaf)
		}
		t.device(field, d.LinuxBlockIODevice).Weight = value(d.Weight)
	}
	for _, r := range []struct {
		name string
		list []specs.LinuxThrottleDevice
		to   func(*cgroups.IODevice) *int64
	}{
		{"throttleReadBpsDevice", b.ThrottleReadBpsDevice, func(d *cgroups.IODevice) *int64 { return &d.ReadBytes }},
		{"throttleWriteBpsDevice", b.ThrottleWriteBpsDevice, func(d *cgroups.IODevice) *int64 { return &d.WriteBytes }},
		{"throttleReadIOPSDevice", b.ThrottleReadIOPSDevice, func(d *cgroups.IODevice) *int64 { return &d.ReadOps }},
		{"throttleWriteIOPSDevice", b.ThrottleWriteIOPSDevice, func(d *cgroups.IODevice) *int64 { return &d.WriteOps }},
	} {
		for i, d := range r.list {
			field := fmt.Sprintf("blockIO.%s[%d]", r.name, i)
			*r.to(t.device(field, d.LinuxBlockIODevice)) = t.rate(field+".rate", d.Rate)
		}
	}
}

// device returns the device of that number among those to be limited.
func (t *translation) device(field string, d specs.LinuxBlockIODevice) *cgroups.IODevice {
	if d.Major < 0 || d.Minor < 0 {
		t.fail(field, fmt.Sprintf("%d:%d", d.Major, d.Minor), errors.New("is not the number of a device"))
	}
	i := slices.IndexFunc(t.to.IODevices, func(o cgroups.IODevice) bool { return o.Major == d.Major && o.Minor == d.Minor })
	if i < 0 {
		i = len(t.to.IODevices)
		t.to.IODevices = append(t.to.IODevices, cgroups.IODevice{Major: d.Major, Minor: d.Minor})
	}
	return &t.to.IODevices[i]
}

func (t *translation) hugepages(list []specs.LinuxHugepageLimit) {
	for i, h := range list {
		// A page counter's highest is what programs that read a limit of v1 write back.
		limit := int64(cgroups.Unlimited)
		if h.Limit < math.MaxInt64-1<<16 {
			limit = t.unsigned(fmt.Sprintf("hugepageLimits[%d].limit", i), h.Limit)
		}
		t.to.Hugepages = append(t.to.Hugepages, cgroups.HugepageLimit{Size: h.Pagesize, Limit: limit})
	}
}

func (t *translation) rdma(devices map[string]specs.LinuxRdma) {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		l := cgroups.RDMALimit{Device: name}
		for _, f := range []struct {
			name string
			from *uint32
			to   *int64
		}{{"hcaHandles", devices[name].HcaHandles, &l.Handles}, {"hcaObjects", devices[name].HcaObjects, &l.Objects}} {
			if f.from == nil {
				continue
			}
			if *f.to = int64(*f.from); *f.from == 0 {
				t.fail("rdma["+strconv.Quote(name)+"]."+f.name, 0, errors.New("is no limit that a device can be used with"))
			}
		}
		t.to.RDMA = append(t.to.RDMA, l)
	}
}

func (t *translation) network(n *specs.LinuxNetwork) {
	if n == nil {
		return
	}
	t.to.NetClass = n.ClassID
	for _, p := range n.Priorities {
		t.to.NetPriorities = append(t.to.NetPriorities, cgroups.NetPriority{Interface: p.Name, Priority: p.Priority})
	}
}

func (t *translation) devices(list []specs.LinuxDeviceCgroup) {
	if len(list) == 0 {
		return
	}
	for i, d := range list {
		field := fmt.Sprintf("devices[%d]", i)
		rule := cgroups.DeviceRule{Allow: d.Allow, Major: cgroups.AnyDevice, Minor: cgroups.AnyDevice, Access: d.Access}
		switch d.Type {
		case "", "a":
			rule.Type = 'a'
		case "b", "c":
			rule.Type = d.Type[0]
		default:
			t.fail(field+".type", strconv.Quote(d.Type), errors.New(`is not "a", "b" or "c"`))
		}
		if d.Major != nil {
			rule.Major = *d.Major
		}
		if d.Minor != nil {
			rule.Minor = *d.Minor
		}
		t.to.Devices = append(t.to.Devices, rule)
	}
	t.to.Devices = append(t.to.Devices, cgroups.DefaultDevices()...)
}
