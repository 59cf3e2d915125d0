package seccomp

import (
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/stretchr/testify/require"
)

// FuzzLoad reads foreign profiles: nothing panics, and what compiles says what the profile says.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64",
		"subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],"syscalls":[
		{"names":["read","socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":38,"op":"SCMP_CMP_NE"}]},
		{"names":["clone"],"action":"SCMP_ACT_KILL","includes":{"caps":["CAP_SYS_ADMIN"],"minKernel":"4.8"}}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","flags":[],"syscalls":[{"name":"ipc","action":"SCMP_ACT_ERRNO",
		"errnoRet":38,"args":[{"index":0,"value":65535,"valueTwo":21,"op":"SCMP_CMP_MASKED_EQ"}]}]}`))
	f.Fuzz(func(t *testing.T, profile []byte) {
		target := &Target{Arch: "amd64", Kernel: seccomp.KernelVersion{Kernel: 6, Major: 1}}
		p, err := Load(profile, target)
		if err != nil {
			return
		}
		_, _ = Flags(p)
		if _, err := Compile(p, &Options{Arch: "amd64"}); err != nil {
			return
		}
		names := 0
		for _, s := range p.Syscalls {
			names += len(s.Names)
		}
		if names < 50 { // the naive evaluation takes its time
			requireEqualVerdicts(t, p, "amd64", 20)
			return
		}
		filter, err := Compile(p, &Options{Arch: "arm64"})
		if err == nil {
			require.NoError(t, check(filter))
		}
	})
}
