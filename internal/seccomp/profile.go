package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Target is what the conditional rules of Docker's profile format ask about.
type Target struct {
	// Capabilities are the names of the container's bounding set, as "CAP_SYS_ADMIN".
	Capabilities []string
	// Socketcall lets i386's socketcall(2) make sockets, of any address family. Only [DefaultProfile] asks about it.
	Socketcall bool
	// Arch is the GOARCH of the machine. The default is the program's own.
	Arch string
	// Kernel is the kernel's version. The default is the running one.
	Kernel seccomp.KernelVersion
}

// maxProfile is the size in bytes of the longest profile that is read, 1 MiB.
const maxProfile = 1 << 20

// Load reads a profile in Docker's JSON format, as --security-opt seccomp=FILE takes it, and resolves it for the
// target. Profiles of the OCI specification are in that format too.
func Load(profile []byte, t *Target) (*specs.LinuxSeccomp, error) {
	if len(profile) > maxProfile {
		return nil, fmt.Errorf("seccomp profile: %d bytes are above the limit of %d", len(profile), maxProfile)
	}
	var p seccomp.Seccomp
	if err := json.Unmarshal(profile, &p); err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	return Resolve(&p, t)
}

// dockerArchs are the names that the format's includes and excludes have for architectures, by GOARCH.
func dockerArchs() map[string]string {
	return map[string]string{"amd64": "amd64", "386": "x86", "arm64": "arm64", "arm": "arm"}
}

// Resolve chooses the rules of a profile in Docker's format that hold for the target.
func Resolve(p *seccomp.Seccomp, t *Target) (*specs.LinuxSeccomp, error) {
	target := Target{}
	if t != nil {
		target = *t
	}
	if target.Arch == "" {
		target.Arch = runtime.GOARCH
	}
	if target.Kernel == (seccomp.KernelVersion{}) {
		var err error
		if target.Kernel, err = runningKernel(); err != nil {
			return nil, fmt.Errorf("seccomp profile: %w", err)
		}
	}
	if len(p.Architectures) != 0 && len(p.ArchMap) != 0 {
		return nil, wrong("archMap", "both architectures and archMap are given")
	}
	if len(p.LinuxSeccomp.Syscalls) != 0 {
		return nil, errors.New("seccomp profile: rules of the specification's type beside Docker's")
	}
	resolved := p.LinuxSeccomp
	resolved.Architectures = slices.Clone(p.Architectures)
	if abis := machines()[target.Arch]; len(abis) > 0 {
		for _, a := range p.ArchMap {
			if a.Arch == abiFacts[abis[0]].arch {
				resolved.Architectures = append([]specs.Arch{a.Arch}, a.SubArches...)
				break
			}
		}
	}
	for i, s := range p.Syscalls {
		if s == nil {
			return nil, wrong(fmt.Sprintf("syscalls[%d]", i), "null")
		}
		call := s.LinuxSyscall
		//lint:ignore SA1019 old profiles have it, and Docker reads it
		if name := s.Name; name != "" {
			if len(call.Names) != 0 {
				return nil, wrong(fmt.Sprintf("syscalls[%d].names", i), "both name and names are given")
			}
			call.Names = []string{name}
		}
		if target.takes(s) {
			resolved.Syscalls = append(resolved.Syscalls, call)
		}
	}
	return &resolved, nil
}

// takes tells whether a rule holds: none of its excludes does, and all of its includes do.
func (t *Target) takes(s *seccomp.Syscall) bool {
	has := func(c string) bool { return slices.Contains(t.Capabilities, c) }
	arch := dockerArchs()[t.Arch]
	if ex := s.Excludes; ex != nil {
		if slices.Contains(ex.Arches, arch) || slices.ContainsFunc(ex.Caps, has) {
			return false
		}
		if ex.MinKernel != nil && atLeast(t.Kernel, *ex.MinKernel) {
			return false
		}
	}
	if in := s.Includes; in != nil {
		if len(in.Arches) > 0 && !slices.Contains(in.Arches, arch) {
			return false
		}
		for _, c := range in.Caps {
			if !has(c) {
				return false
			}
		}
		if in.MinKernel != nil && !atLeast(t.Kernel, *in.MinKernel) {
			return false
		}
	}
	return true
}

// atLeast compares versions by their first two numbers.
func atLeast(v, least seccomp.KernelVersion) bool {
	return v.Kernel > least.Kernel || v.Kernel == least.Kernel && v.Major >= least.Major
}
