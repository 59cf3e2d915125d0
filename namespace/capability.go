package namespace

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// A Capability is the number of a Linux capability, as in linux/capability.h.
type Capability uint8

// CapabilityUnknownError is returned when a name stands for no capability that this package knows.
type CapabilityUnknownError struct{ Name string }

// Error names the capability.
func (e *CapabilityUnknownError) Error() string { return fmt.Sprintf("unknown capability %q", e.Name) }

// capabilityNames holds the names by number. CAP_CHECKPOINT_RESTORE (Linux 5.9) is the newest one.
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// KnownCapabilities is the set of all capabilities that this package has names for. The running kernel may know
// fewer, or more: see [LastCapability].
const KnownCapabilities = CapabilitySet(1)<<len(capabilityNames) - 1

// String returns the name, such as "CAP_NET_RAW", or "CAP_63" for a number without one.
func (c Capability) String() string {
	if int(c) < len(capabilityNames) {
		return capabilityNames[c]
	}
	return fmt.Sprintf("CAP_%d", uint8(c))
}

// ParseCapability returns the capability with the name, which is read as Docker reads it: in any case, with or without
// "CAP_". The error is a [*CapabilityUnknownError].
func ParseCapability(name string) (Capability, error) {
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "CAP_") {
		upper = "CAP_" + upper
	}
	for i, n := range capabilityNames {
		if n == upper {
			return Capability(i), nil
		}
	}
	return 0, &CapabilityUnknownError{Name: name}
}

// A CapabilitySet is a set of capabilities, bit n for capability n, as in the Cap lines of /proc/self/status. The zero
// value is the empty set.
type CapabilitySet uint64

// ParseCapabilities returns the set of the names. "ALL", in any case and with or without "CAP_", stands for
// [KnownCapabilities]. Names that are unknown come back joined, each a [*CapabilityUnknownError].
func ParseCapabilities(names ...string) (CapabilitySet, error) {
	var set CapabilitySet
	var errs []error
	for _, name := range names {
		if strings.EqualFold(name, "ALL") || strings.EqualFold(name, "CAP_ALL") {
			set |= KnownCapabilities
			continue
		}
		c, err := ParseCapability(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set.Add(c)
	}
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	return set, nil
}

// Has tells whether the capability is in the set.
func (s CapabilitySet) Has(c Capability) bool { return c < 64 && s&(1<<c) != 0 }

// Add puts capabilities into the set. Numbers above 63 are not kept.
func (s *CapabilitySet) Add(caps ...Capability) {
	for _, c := range caps {
		*s |= 1 << c // 0 for a shift of 64 or more
	}
}

// Drop takes capabilities out of the set.
func (s *CapabilitySet) Drop(caps ...Capability) {
	for _, c := range caps {
		*s &^= 1 << c
	}
}

// Len returns the number of capabilities in the set.
func (s CapabilitySet) Len() int { return bits.OnesCount64(uint64(s)) }

// Names returns the names of the capabilities in the set, by number.
func (s CapabilitySet) Names() []string {
	names := make([]string, 0, s.Len())
	for ; s != 0; s &= s - 1 {
		names = append(names, Capability(bits.TrailingZeros64(uint64(s))).String())
	}
	return names
}

// String returns the names separated by commas, "ALL" for all that have a name, or "" for the empty set.
func (s CapabilitySet) String() string {
	if s == KnownCapabilities {
		return "ALL"
	}
	return strings.Join(s.Names(), ",")
}

// defaultCapabilities is Docker's set, which containerd and podman took over in large part.
const defaultCapabilities = CapabilitySet(0xa80425fb)

// DefaultCapabilities returns the names of the 14 capabilities that a container has unless it is said otherwise, the
// same as Docker's, by number.
func DefaultCapabilities() []string { return defaultCapabilities.Names() }

// DefaultCapabilitySet returns the set of [DefaultCapabilities].
func DefaultCapabilitySet() CapabilitySet { return defaultCapabilities }
