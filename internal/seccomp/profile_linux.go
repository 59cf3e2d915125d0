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
//
// It differs in one point: socketcall(2) of i386 does not make sockets, unless the target's Socketcall says so. Docker's
// profile chooses by their address family which sockets a container may make, to keep it from AF_ALG and AF_VSOCK; but
// socketcall takes the family behind a pointer, where no filter sees it, and Docker's profile lets it through.
func DefaultProfile(t *Target) (*specs.LinuxSeccomp, error) {
	p := seccomp.DefaultProfile()
	if t == nil || !t.Socketcall {
		restrictSocketcall(p)
	}
	return Resolve(p, t)
}

// restrictSocketcall takes the making of sockets from socketcall(2). The error is ENOSYS: a C library that tries
// socketcall first goes on to socket(2) then.
func restrictSocketcall(p *seccomp.Seccomp) {
	const name, makeSocket = "socketcall", 1 // SYS_SOCKET of linux/net.h
	allowed := false
	for _, s := range p.Syscalls {
		if i := slices.Index(s.Names, name); i >= 0 && s.Action == specs.ActAllow && len(s.Args) == 0 {
			s.Names = slices.Delete(s.Names, i, i+1)
			allowed = true
		}
	}
	if !allowed {
		return
	}
	errno := uint(enosys)
	first := func(op specs.LinuxSeccompOperator) []specs.LinuxSeccompArg {
		return []specs.LinuxSeccompArg{{Index: 0, Value: makeSocket, Op: op}}
	}
	p.Syscalls = append(p.Syscalls,
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &errno, Args: first(specs.OpEqualTo),
		}},
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names: []string{name}, Action: specs.ActAllow, Args: first(specs.OpNotEqual),
		}},
	)
}

// defaults holds the compiled default profiles, by those capabilities of the container that the profile asks about.
var defaults struct {
	mu      sync.Mutex
	asked   []string // at most 64 names
	filters map[uint64]Filter
}

// socketcallKey is the bit of the cache's key that says that socketcall makes sockets; those below it are capabilities.
const socketcallKey = 1 << 63

// maxDefaults bounds the cache: one program rarely uses more sets of capabilities. A filter has some 5 KB.
const maxDefaults = 64

// Default returns the filter of the [DefaultProfile] for a container with the capabilities, named as "CAP_SYS_ADMIN",
// and for what the Target has of the same name as socketcall. Its flags are [FlagSpecAllow]. Filters are kept for the life of the process: the first call for a
// set takes about a millisecond, later ones less than a microsecond. The caller must not change the filter.
func Default(caps []string, socketcall bool) (Filter, error) {
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
	if socketcall {
		key |= socketcallKey
	}
	if f, ok := defaults.filters[key]; ok {
		return f, nil
	}
	p, err := DefaultProfile(&Target{Capabilities: caps, Socketcall: socketcall})
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
