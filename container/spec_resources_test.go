package container_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

func ptr[T any](v T) *T { return &v }

// everySpecLimit has a value in each field that a kernel can be given.
func everySpecLimit() *specs.LinuxResources {
	disk := specs.LinuxBlockIODevice{Major: 8, Minor: 16}
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: n}}
	}
	return &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{
			{Allow: false, Access: "rwm"}, {Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rw"},
		},
		Memory: &specs.LinuxMemory{
			Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20)), Swap: ptr(int64(-1)),
			//lint:ignore SA1019 it is read, so that it is refused or left out knowingly
			Kernel:    ptr(int64(5)),
			KernelTCP: ptr(int64(1 << 20)), Swappiness: ptr(uint64(0)), DisableOOMKiller: ptr(false),
			UseHierarchy: ptr(true), CheckBeforeUpdate: ptr(true),
		},
		CPU: &specs.LinuxCPU{
			Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Burst: ptr(uint64(0)), Period: ptr(uint64(100000)),
			RealtimeRuntime: ptr(int64(1000)), RealtimePeriod: ptr(uint64(500000)), Cpus: "0", Mems: "0", Idle: ptr(int64(1)),
		},
		Pids: &specs.LinuxPids{Limit: ptr(int64(100))},
		BlockIO: &specs.LinuxBlockIO{
			Weight: ptr(uint16(500)), LeafWeight: ptr(uint16(0)),
			WeightDevice:          []specs.LinuxWeightDevice{{LinuxBlockIODevice: disk, Weight: ptr(uint16(300))}},
			ThrottleReadBpsDevice: rate(1), ThrottleWriteBpsDevice: rate(2), ThrottleReadIOPSDevice: rate(3),
			ThrottleWriteIOPSDevice: rate(0),
		},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}, {Pagesize: "1GB", Limit: math.MaxUint64}},
		Network:        &specs.LinuxNetwork{ClassID: ptr(uint32(7)), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 4}}},
		Rdma:           map[string]specs.LinuxRdma{"mlx5_0": {HcaHandles: ptr(uint32(3))}},
		Unified:        map[string]string{"memory.high": "max"},
	}
}

func TestSpecResources(t *testing.T) {
	r, err := container.SpecResources(everySpecLimit())
	require.NoError(t, err)
	require.Equal(t, &cgroups.Resources{
		Memory: 64 << 20, MemorySwap: cgroups.Unlimited, MemoryReservation: 32 << 20, KernelTCPMemory: 1 << 20,
		Swappiness: ptr(uint64(0)), OOMKillDisable: ptr(false),
		CPUShares: 512, CPUQuota: 50 * time.Millisecond, CPUPeriod: 100 * time.Millisecond, CPUBurst: cgroups.Unlimited,
		RealtimeRuntime: time.Millisecond, RealtimePeriod: 500 * time.Millisecond, CPUs: "0", Mems: "0", CPUIdle: ptr(true),
		Pids: 100, IOWeight: 500,
		IODevices: []cgroups.IODevice{{Major: 8, Minor: 16, Weight: 300, ReadBytes: 1, WriteBytes: 2, ReadOps: 3,
			WriteOps: cgroups.Unlimited}},
		Hugepages:     []cgroups.HugepageLimit{{Size: "2MB", Limit: 4 << 20}, {Size: "1GB", Limit: cgroups.Unlimited}},
		RDMA:          []cgroups.RDMALimit{{Device: "mlx5_0", Handles: 3}},
		NetClass:      ptr(uint32(7)),
		NetPriorities: []cgroups.NetPriority{{Interface: "eth0", Priority: 4}},
		Unified:       map[string]string{"memory.high": "max"},
		Devices: append([]cgroups.DeviceRule{
			{Type: 'a', Major: -1, Minor: -1, Access: "rwm"}, {Allow: true, Type: 'c', Major: 10, Minor: 229, Access: "rw"},
		}, cgroups.DefaultDevices()...),
	}, r)

	r, err = container.SpecResources(nil)
	require.NoError(t, err)
	require.Nil(t, r)
	r, err = container.SpecResources(&specs.LinuxResources{})
	require.NoError(t, err)
	require.Equal(t, &cgroups.Resources{}, r)
}

func TestSpecResourcesRefused(t *testing.T) {
	type R = specs.LinuxResources
	disk := specs.LinuxBlockIODevice{Major: 8}
	for field, r := range map[string]*R{
		"linux.resources.memory.limit":      {Memory: &specs.LinuxMemory{Limit: ptr(int64(-2))}},
		"linux.resources.memory.swap":       {Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 30)), Swap: ptr(int64(1 << 29))}},
		"linux.resources.memory.swappiness": {Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(1000))}},
		"linux.resources.memory.kernelTCP":  {Memory: &specs.LinuxMemory{KernelTCP: ptr(int64(-7))}},
		"linux.resources.cpu.shares":        {CPU: &specs.LinuxCPU{Shares: ptr(uint64(1))}},
		"linux.resources.cpu.quota":         {CPU: &specs.LinuxCPU{Quota: ptr(int64(math.MaxInt64))}},
		"linux.resources.cpu.period":        {CPU: &specs.LinuxCPU{Period: ptr(uint64(math.MaxUint64))}},
		"linux.resources.cpu.idle":          {CPU: &specs.LinuxCPU{Idle: ptr(int64(2))}},
		"linux.resources.cpu.cpus":          {CPU: &specs.LinuxCPU{Cpus: "x"}},
		"linux.resources.pids.limit":        {Pids: &specs.LinuxPids{Limit: ptr(int64(-9))}},
		"linux.resources.blockIO.weight":    {BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(5))}},
		"linux.resources.blockIO.weightDevice[8:0]": {BlockIO: &specs.LinuxBlockIO{
			WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: disk, Weight: ptr(uint16(1))}}}},
		"linux.resources.blockIO.throttleReadIOPSDevice[8:0]": {BlockIO: &specs.LinuxBlockIO{
			ThrottleReadIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: 1 << 33}}}},
		"linux.resources.blockIO.throttleWriteBpsDevice[0].rate": {BlockIO: &specs.LinuxBlockIO{
			ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: 1 << 63}}}},
		"linux.resources.hugepageLimits":       {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2 MiB"}}},
		"linux.resources.rdma":                 {Rdma: map[string]specs.LinuxRdma{"a b": {}}},
		"linux.resources.network.priorities":   {Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{}}}},
		"linux.resources.unified":              {Unified: map[string]string{"a/../b": "1"}},
		"linux.resources.unified[cgroup.kill]": {Unified: map[string]string{"cgroup.kill": "1"}},
		"linux.resources.devices[0].type":      {Devices: []specs.LinuxDeviceCgroup{{Type: "u"}}},
		"linux.resources.devices":              {Devices: []specs.LinuxDeviceCgroup{{Type: "c", Access: "x"}}},
	} {
		_, err := container.SpecResources(r)
		var re *cgroups.ResourceError
		require.ErrorAs(t, err, &re, field)
		require.Equal(t, field, re.Field, "%v", err)
	}
	for field, r := range map[string]*R{
		"linux.resources.memory.useHierarchy": {Memory: &specs.LinuxMemory{UseHierarchy: ptr(false)}},
		"linux.resources.blockIO.leafWeight":  {BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr(uint16(10))}},
	} {
		_, err := container.SpecResources(r)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, field)
	}
}

func TestSpecField(t *testing.T) {
	for field, want := range map[string]string{
		"Resources.CPUs": "linux.resources.cpu.cpus", "IODevices[8:0].Weight": "linux.resources.blockIO.weightDevice[8:0]",
		"Hugepages[2MB]": "linux.resources.hugepageLimits[2MB]", "RDMA[m].Handles": "linux.resources.rdma.hcaHandles[m]",
		"Unified[memory.high]": "linux.resources.unified[memory.high]", "Hostname": "Hostname",
		"linux.resources.memory.limit": "linux.resources.memory.limit",
	} {
		require.Equal(t, want, container.SpecField(field))
	}
}
