package main

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/cgroups"
)

func fillFlags(args ...string) (*runFlags, error) {
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	r := &runFlags{}
	r.add(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return r, r.fill()
}

func TestResourceFlags(t *testing.T) {
	r, err := fillFlags("-m", "64m")
	require.NoError(t, err)
	require.Nil(t, r.config.Resources)

	r, err = fillFlags("--memory-swappiness", "0", "--oom-kill-disable", "--cpu-quota", "50000", "--cpu-period", "100000",
		"--cpu-rt-runtime", "-1", "--cpu-rt-period", "7", "--blkio-weight", "300", "--device-cgroup-rule", "c 10:229 rw",
		"--device-cgroup-rule", "b *:* m", "--cgroupns", "host")
	require.NoError(t, err)
	zero, on := uint64(0), true
	require.Equal(t, &cgroups.Resources{
		Swappiness: &zero, OOMKillDisable: &on, CPUQuota: 50 * time.Millisecond, CPUPeriod: 100 * time.Millisecond,
		RealtimeRuntime: cgroups.Unlimited, RealtimePeriod: 7 * time.Microsecond, IOWeight: 300,
		Devices: append(cgroups.DefaultDevices(),
			cgroups.DeviceRule{Allow: true, Type: 'c', Major: 10, Minor: 229, Access: "rw"},
			cgroups.DeviceRule{Allow: true, Type: 'b', Major: -1, Minor: -1, Access: "m"}),
	}, r.config.Resources)
	require.Equal(t, "host", r.config.CgroupNamespace)

	for _, args := range [][]string{
		{"--memory-swappiness", "101"}, {"--memory-swappiness", "-2"}, {"--cpu-quota", "-2"}, {"--cpu-period", "-1"},
		{"--cpu-rt-period", "99999999999999999"}, {"--device-read-bps", "/dev/x"}, {"--device-read-bps", "x:1"},
		{"--device-write-iops", "/dev/null:0"}, {"--device-write-iops", "/dev/null:1k"}, {"--blkio-weight-device", "/dev/null:-1"},
		{"--device-read-iops", "/dev/no-such-device:5"}, {"--device-cgroup-rule", "x 1:3 r"},
		{"--device-cgroup-rule", "c 1:3"}, {"--device-cgroup-rule", "c 1:3 q"},
	} {
		_, err := fillFlags(args...)
		require.Error(t, err, "%v", args)
	}
}

func TestResourceFlagsOfDevices(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs device nodes of Linux")
	}
	_, err := fillFlags("--device-read-bps", "/dev/null:1mb")
	require.ErrorContains(t, err, "not a block device")
	disks, _ := filepath.Glob("/dev/vd[a-z]")
	more, _ := filepath.Glob("/dev/sd[a-z]")
	if disks = append(disks, more...); len(disks) == 0 {
		t.Skip("needs a disk with a node in /dev")
	}
	r, err := fillFlags("--device-read-bps", disks[0]+":1mb", "--device-write-bps", disks[0]+":5",
		"--device-read-iops", disks[0]+":6", "--device-write-iops", disks[0]+":7", "--blkio-weight-device", disks[0]+":200")
	require.NoError(t, err)
	require.Len(t, r.config.Resources.IODevices, 1)
	d := r.config.Resources.IODevices[0]
	require.Positive(t, d.Major)
	require.Equal(t, cgroups.IODevice{Major: d.Major, Minor: d.Minor, Weight: 200, ReadBytes: 1 << 20, WriteBytes: 5,
		ReadOps: 6, WriteOps: 7}, d)
}
