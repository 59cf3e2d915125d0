package seccomp

import (
	"fmt"
	"slices"
	"sync"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// runningKernel returns the version in uname(2)'s release.
var runningKernel = sync.OnceValues(func() (seccomp.KernelVersion, error) {
	var v seccomp.KernelVersion
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return v, fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &v.Kernel, &v.Major); err != nil {
		return v, fmt.Errorf("read the kernel's version %q: %w", release, err)
	}
	return v, nil
})

// DefaultProfile returns Docker's default profile, resolved for the target. The caller may change it.
func DefaultProfile(t *Target) (*specs.LinuxSeccomp, error) {
	return Resolve(seccomp.DefaultProfile(), t)
}

// defaults holds the compiled default profiles, by those capabilities of the container that the profile asks about.
var defaults struct {
	mu      sync.Mutex
	asked   []string // at most 64 names
	filters map[uint64]Filter
}

// maxDefaults bounds the cache: one program rarely uses more sets of capabilities. A filter has some 5 KB.
const maxDefaults = 64

// Default returns the filter of Docker's default profile for a container with the capabilities, named as
// "CAP_SYS_ADMIN". Its flags are [FlagSpecAllow]. Filters are kept for the life of the process: the first call for a
// set takes about a millisecond, later ones less than a microsecond. The caller must not change the filter.
func Default(caps []string) (Filter, error) {
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	if defaults.asked == nil {
		defaults.asked = askedCapabilities(seccomp.DefaultProfile())
	}
	var key uint64
	for i, c := range defaults.asked {
		if slices.Contains(caps, c) {
			key |= 1 << i
		}
	}
	if f, ok := defaults.filters[key]; ok {
		return f, nil
	}
	p, err := DefaultProfile(&Target{Capabilities: caps})
	if err != nil {
		return nil, err
	}
	f, err := Compile(p, nil)
	if err != nil {
		return nil, err
	}
	if defaults.filters == nil || len(defaults.filters) >= maxDefaults {
		defaults.filters = map[uint64]Filter{}
	}
	defaults.filters[key] = f
	return f, nil
}

// askedCapabilities returns the capabilities that decide about a rule of the profile.
func askedCapabilities(p *seccomp.Seccomp) []string {
	var names []string
	for _, s := range p.Syscalls {
		for _, f := range []*seccomp.Filter{s.Includes, s.Excludes} {
			if f != nil {
				names = append(names, f.Caps...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
