package cgroups

import (
	"errors"
	"fmt"
)

// An IODevice limits what a group does with a block device: a disk, not a partition of one. Of each limit, 0 sets none
// and Unlimited lifts one.
type IODevice struct {
	Major, Minor int64

	Weight uint16 // as Resources.IOWeight, with this device

	ReadBytes, WriteBytes int64 // bytes a second
	ReadOps, WriteOps     int64 // operations a second
}

// Device numbers of Linux.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

func (d IODevice) number() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// A rate is one of the four limits on a device, with the names that it has.
type rate struct {
	field  string // of IODevice
	file   string // of v1
	key    string // in v2's io.max
	amount func(IODevice) int64
}

var rates = [...]rate{
	{"ReadBytes", "blkio.throttle.read_bps_device", "rbps", func(d IODevice) int64 { return d.ReadBytes }},
	{"WriteBytes", "blkio.throttle.write_bps_device", "wbps", func(d IODevice) int64 { return d.WriteBytes }},
	{"ReadOps", "blkio.throttle.read_iops_device", "riops", func(d IODevice) int64 { return d.ReadOps }},
	{"WriteOps", "blkio.throttle.write_iops_device", "wiops", func(d IODevice) int64 { return d.WriteOps }},
}

// field is the name of a limit on the device in errors: "IODevices[8:0].ReadBytes".
func (d IODevice) field(name string) string { return "IODevices[" + d.number() + "]." + name }

// maxOps is the most operations a second that the kernel takes.
const maxOps = 1<<32 - 1

func (r *Resources) validateIO() error {
	bad := fmt.Errorf("is not from %d to %d", MinIOWeight, MaxIOWeight)
	if r.IOWeight != 0 && (r.IOWeight < MinIOWeight || r.IOWeight > MaxIOWeight) {
		return fieldError("IOWeight", r.IOWeight, bad)
	}
	for _, d := range r.IODevices {
		switch {
		case d.Major < 0 || d.Major > maxMajor:
			return fieldError(d.field("Major"), d.Major, fmt.Errorf("is not from 0 to %d", maxMajor))
		case d.Minor < 0 || d.Minor > maxMinor:
			return fieldError(d.field("Minor"), d.Minor, fmt.Errorf("is not from 0 to %d", maxMinor))
		case d.Weight != 0 && (d.Weight < MinIOWeight || d.Weight > MaxIOWeight):
			return fieldError(d.field("Weight"), d.Weight, bad)
		case d.ReadOps > maxOps:
			return fieldError(d.field("ReadOps"), d.ReadOps, fmt.Errorf("is above %d", maxOps))
		case d.WriteOps > maxOps:
			return fieldError(d.field("WriteOps"), d.WriteOps, fmt.Errorf("is above %d", maxOps))
		}
		for _, l := range rates {
			if l.amount(d) < Unlimited {
				return fieldError(d.field(l.field), l.amount(d), errors.New("is negative"))
			}
		}
	}
	return nil
}

// IOWeight converts a weight for I/O as BFQ and v1 have it (10 to 1000) to io.weight of v2 (1 to 10000), on the
// straight line between the bounds, as runc does. Values out of range give the nearest bound; 0, which stands for
// "not set", gives 0.
func IOWeight(weight uint16) uint64 {
	if weight == 0 {
		return 0
	}
	w := min(max(uint64(weight), MinIOWeight), MaxIOWeight)
	return 1 + (w-MinIOWeight)*9999/(MaxIOWeight-MinIOWeight)
}
