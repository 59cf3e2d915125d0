package namespace

import (
	"maps"
	"slices"
)

// MountOptions returns the options that SetOptions knows, sorted, those among them that are left to an OCI runtime: "idmap" and
// "ridmap".
func MountOptions() []string {
	all := []string{"bind", "rbind", "tmpcopyup", "idmap", "ridmap"}
	for _, o := range flagOptions {
		all = append(all, o.name, "r"+o.name)
	}
	for _, name := range propagationOptions {
		all = append(all, name, "r"+name)
	}
	all = append(append(all, superOptions...), ignoredOptions...)
	slices.Sort(all)
	return slices.Compact(all)
}

// MemoryPolicies returns the modes and flags of memory policies that there are for Attributes.MemoryPolicy, sorted.
func MemoryPolicies() (modes, flags []string) {
	for _, m := range slices.Sorted(maps.Keys(memoryModes())) {
		modes = append(modes, string(m))
	}
	for _, f := range slices.Sorted(maps.Keys(memoryFlags())) {
		flags = append(flags, string(f))
	}
	return modes, flags
}
