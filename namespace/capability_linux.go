package namespace

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// LastCapability returns the capability with the highest number that the running kernel knows: from
// /proc/sys/kernel/cap_last_cap, or, where /proc is not mounted, by asking prctl(PR_CAPBSET_READ). The answer is kept
// for the life of the process.
func LastCapability() Capability { return lastCapability() }

var lastCapability = sync.OnceValue(func() Capability {
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 8); err == nil && n < 64 {
			return Capability(n)
		}
	}
	return probeLastCapability()
})

// probeLastCapability finds the last capability by bisection: the kernel answers EINVAL above it.
func probeLastCapability() Capability {
	low, high := 0, 64 // low is known, high is not
	for high-low > 1 {
		mid := (low + high) / 2
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(mid), 0, 0, 0); err == nil {
			low = mid
		} else {
			high = mid
		}
	}
	return Capability(low)
}

// OwnCapabilities returns the permitted capabilities of the calling thread, which are those that a process it starts can
// have at most.
func OwnCapabilities() CapabilitySet {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0
	}
	return CapabilitySet(data[0].Permitted) | CapabilitySet(data[1].Permitted)<<32
}
