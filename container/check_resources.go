package container

import (
	"runtime"
	"strconv"
	"strings"
)

// minMemory is the least memory limit that Docker accepts: less does not suffice to start a container.
const minMemory = 6 << 20

func (c *Container) checkMemory() error {
	if c.Memory < 0 {
		return wrong("Memory", "%d is negative: use 0 for no limit", c.Memory)
	}
	if c.Memory != 0 && c.Memory < minMemory {
		return wrong("Memory", "%d bytes is too little to start a container: use 6 MiB (%d) or more, or 0 for no limit",
			c.Memory, minMemory)
	}
	switch swap := c.MemorySwap; {
	case swap < -1:
		return wrong("MemorySwap", "%d is negative: use -1 for no limit", swap)
	case swap > 0 && c.Memory == 0:
		return wrong("MemorySwap", "it bounds memory and swap together: set Memory too")
	case swap > 0 && swap < c.Memory:
		return wrong("MemorySwap", "%d is less than Memory, %d, which it includes", swap, c.Memory)
	}
	switch reservation := c.MemoryReservation; {
	case reservation < 0:
		return wrong("MemoryReservation", "%d is negative: use 0 for none", reservation)
	case reservation != 0 && reservation < minMemory:
		return wrong("MemoryReservation", "%d bytes is too little: use 6 MiB (%d) or more, or 0 for none",
			reservation, minMemory)
	case c.Memory != 0 && reservation > c.Memory:
		return wrong("MemoryReservation", "%d is more than Memory, %d", reservation, c.Memory)
	}
	return nil
}

func (c *Container) checkProcessors() error {
	// NaN is neither: that is why the condition is not turned round.
	if !(c.CPUs == 0 || c.CPUs >= 0.01 && c.CPUs <= float64(runtime.NumCPU())) {
		return wrong("CPUs", "%v is not between 0.01 and %d, the number of processors of this machine; 0 is no limit",
			c.CPUs, runtime.NumCPU())
	}
	if c.CPUShares != 0 && (c.CPUShares < 2 || c.CPUShares > 262144) {
		return wrong("CPUShares", "%d is not between 2 and 262144; 0 is the default, 1024", c.CPUShares)
	}
	if err := checkList("CpusetCPUs", c.CpusetCPUs); err != nil {
		return err
	}
	if err := checkList("CpusetMems", c.CpusetMems); err != nil {
		return err
	}
	if c.PidsLimit < -1 {
		return wrong("PidsLimit", "%d is negative: use 0 or -1 for no limit", c.PidsLimit)
	}
	return nil
}

// checkList wants a list such as "0-3,7", or nothing: cpuset(7), "List format". The kernel checks that they are there.
func checkList(field, list string) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if isRange && err == nil {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return wrong(field, "%q is not a list of numbers and ranges, such as \"0-3,7\"", list)
		}
	}
	return nil
}

func (c *Container) checkCgroup() error {
	if c.Cgroup != "" {
		switch {
		case c.NoCgroup:
			return wrong("Cgroup", "%q is set, but so is NoCgroup", c.Cgroup)
		case strings.ContainsAny(c.Cgroup, "\x00\n"):
			return wrong("Cgroup", "%q contains a NUL byte or a line break", c.Cgroup)
		case strings.Trim(c.Cgroup, "/") == "":
			return wrong("Cgroup", "%q is a group that is there already: name a new one", c.Cgroup)
		}
		for part := range strings.SplitSeq(strings.TrimPrefix(c.Cgroup, "/"), "/") {
			if part == "" || part == "." || part == ".." || len(part) > 255 {
				return wrong("Cgroup", "%q has a part that is empty, \".\", \"..\" or longer than 255 bytes", c.Cgroup)
			}
		}
	}
	if !c.NoCgroup {
		return nil
	}
	if !isNew(c.Namespaces.PID) {
		return wrong("NoCgroup", "without a PID namespace of its own the container could not be killed as a whole")
	}
	if limit := c.limitAsked(); limit != "" {
		return wrong(limit, "a limit needs a control group, but NoCgroup is set")
	}
	return nil
}

// limitAsked names a field that takes a control group, "" if none is set.
func (c *Container) limitAsked() string { return c.Limited() }

// Limited names the first field that takes a control group, or is empty if none does: what NoCgroup would leave out.
func (c *Container) Limited() string {
	for _, limit := range []struct {
		field string
		set   bool
	}{
		{"Memory", c.Memory != 0}, {"MemoryReservation", c.MemoryReservation != 0}, {"CPUs", c.CPUs != 0},
		{"CPUShares", c.CPUShares != 0}, {"CpusetCPUs", c.CpusetCPUs != ""}, {"CpusetMems", c.CpusetMems != ""},
		{"PidsLimit", c.PidsLimit > 0}, {"Devices", len(c.Devices) > 0}, {"Nodes", len(c.Nodes) > 0},
		{"DeviceRules", len(c.DeviceRules) > 0}, {"Resources", c.Resources != nil},
	} {
		if limit.set {
			return limit.field
		}
	}
	return ""
}
