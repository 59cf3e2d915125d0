//go:build !linux

package namespace

// LastCapability returns the newest capability that this package has a name for; on Linux it asks the running kernel.
func LastCapability() Capability { return Capability(len(capabilityNames) - 1) }

// OwnCapabilities returns the empty set.
func OwnCapabilities() CapabilitySet { return 0 }
