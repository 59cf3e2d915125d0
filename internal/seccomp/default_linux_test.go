package seccomp

import (
	"os"
	"slices"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

var dockerCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
}

func TestDefaultProfile(t *testing.T) {
	if testenv.VM() {
		t.Skip("the compiler does not depend on the kernel, and an emulated processor takes minutes")
	}
	for _, caps := range [][]string{nil, dockerCapabilities, {"CAP_SYS_ADMIN"}, {"CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_PTRACE"}} {
		for _, goarch := range []string{"amd64", "arm64"} {
			p, err := DefaultProfile(&Target{Capabilities: caps, Arch: goarch})
			require.NoError(t, err)
			requireEqualVerdicts(t, p, goarch, 300)
		}
	}
}

// TestDefaultProfileIsDockers compares the rules chosen with those that Docker's own code chooses for this machine.
func TestDefaultProfileIsDockers(t *testing.T) {
	for _, caps := range [][]string{nil, dockerCapabilities, {"CAP_SYS_ADMIN", "CAP_SYSLOG"}} {
		want, err := seccomp.GetDefaultProfile(&specs.Spec{
			Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
		})
		require.NoError(t, err)
		got, err := DefaultProfile(&Target{Capabilities: caps, Socketcall: true})
		require.NoError(t, err)
		require.Equal(t, want, got)

		// The one difference.
		got, err = DefaultProfile(&Target{Capabilities: caps})
		require.NoError(t, err)
		last := len(got.Syscalls) - 2
		for _, s := range got.Syscalls[last:] {
			require.Equal(t, []string{"socketcall"}, s.Names)
		}
		got.Syscalls = got.Syscalls[:last]
		for i, s := range want.Syscalls {
			want.Syscalls[i].Names = slices.DeleteFunc(s.Names, func(n string) bool { return n == "socketcall" })
		}
		require.Equal(t, want, got)
	}
}

// TestDefaultVerdicts states what the default profile is for.
func TestDefaultVerdicts(t *testing.T) {
	const audit, i386 = 0xc000003e, 0x40000003
	denied, missing := retErrno|eperm, retErrno|enosys
	p, err := DefaultProfile(&Target{Capabilities: dockerCapabilities, Arch: "amd64"})
	require.NoError(t, err)
	f, err := Compile(p, &Options{Arch: "amd64"})
	require.NoError(t, err)
	for _, c := range []struct {
		what string
		call data
		want verdict
	}{
		{"read", data{number: 0, audit: audit}, retAllow},
		{"chroot, as the capability is there", data{number: 161, audit: audit}, retAllow},
		{"mount", data{number: 165, audit: audit}, denied},
		{"keyctl", data{number: 250, audit: audit}, denied},
		{"bpf", data{number: 321, audit: audit}, denied},
		{"clone", data{number: 56, audit: audit, args: [6]uint64{0x11}}, retAllow},
		{"clone NEWUSER", data{number: 56, audit: audit, args: [6]uint64{0x10000011}}, denied},
		{"clone NEWNS, with a bit above", data{number: 56, audit: audit, args: [6]uint64{1<<40 | 0x20000}}, denied},
		{"clone3", data{number: 435, audit: audit}, missing},
		{"newer than the profile", data{number: 490, audit: audit}, missing},
		{"no syscall at all", data{number: 0xffffffff, audit: audit}, missing},
		{"socket AF_INET", data{number: 41, audit: audit, args: [6]uint64{2}}, retAllow},
		{"socket AF_ALG", data{number: 41, audit: audit, args: [6]uint64{38}}, denied},
		{"socket AF_ALG, with a bit above", data{number: 41, audit: audit, args: [6]uint64{1<<32 | 38}}, denied},
		{"socket AF_VSOCK", data{number: 41, audit: audit, args: [6]uint64{40}}, denied},
		{"x32 socket AF_ALG", data{number: x32Bit | 41, audit: audit, args: [6]uint64{38}}, denied},
		{"x32 ptrace", data{number: x32Bit | 521, audit: audit}, retAllow},
		{"x32 mount", data{number: x32Bit | 165, audit: audit}, denied},
		{"i386 socket AF_ALG", data{number: 359, audit: i386, args: [6]uint64{38}}, denied},
		{"i386 socketcall socket", data{number: 102, audit: i386, args: [6]uint64{1}}, missing},
		{"i386 socketcall socket, with a bit above", data{number: 102, audit: i386, args: [6]uint64{1<<32 | 1}}, missing},
		{"i386 socketcall connect", data{number: 102, audit: i386, args: [6]uint64{3}}, retAllow},
		{"i386 mount", data{number: 21, audit: i386}, denied},
		{"arm64 on amd64", data{number: 63, audit: 0xc00000b7}, retKillThread},
	} {
		got, _, err := run(f, &c.call)
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.what)
	}
}

// TestDefaultSize notices when the filter grows, which costs each start of a container.
func TestDefaultSize(t *testing.T) {
	for goarch, limits := range map[string]struct{ instructions, steps int }{"amd64": {350, 20}, "arm64": {300, 20}} {
		p, err := DefaultProfile(&Target{Capabilities: dockerCapabilities, Arch: goarch})
		require.NoError(t, err)
		f, err := Compile(p, &Options{Arch: goarch})
		require.NoError(t, err)
		steps, most := 0, 0
		for nr := range uint32(460) {
			_, n, err := run(f, &data{number: nr, audit: abiFacts[machines()[goarch][0]].audit})
			require.NoError(t, err)
			steps, most = steps+n, max(most, n)
		}
		t.Logf("%s: %d instructions, %.1f a call on average, %d at most", goarch, f.Len(), float64(steps)/460, most)
		require.LessOrEqual(t, f.Len(), limits.instructions)
		require.LessOrEqual(t, steps/460, limits.steps)
	}
}

func TestDefaultIsCached(t *testing.T) {
	a, err := Default(dockerCapabilities, false)
	require.NoError(t, err)
	b, err := Default(append([]string{"CAP_WAKE_ALARM"}, dockerCapabilities...), false) // nothing asks about this one
	require.NoError(t, err)
	require.Same(t, &a[0], &b[0])
	c, err := Default([]string{"CAP_SYS_ADMIN"}, false)
	require.NoError(t, err)
	require.NotEqual(t, a, c)
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = Default(dockerCapabilities, false) }))
}

func TestLoad(t *testing.T) {
	for want, profile := range map[string]string{
		"seccomp.syscalls[1].names: both name and names": `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"read","action":"SCMP_ACT_TRAP"},{"name":"read","names":["write"],"action":"SCMP_ACT_TRAP"}]}`,
		"seccomp.archMap: both":                          `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_ARM"}]}`,
		"seccomp.syscalls[0]: null":                      `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[null]}`,
		"seccomp profile: unexpected end":                `{`,
		"seccomp profile: invalid kernel version":        `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP","includes":{"minKernel":"x"}}]}`,
	} {
		_, err := Load([]byte(profile), nil)
		require.ErrorContains(t, err, want)
	}
	_, err := Load(make([]byte, maxProfile+1), nil)
	require.ErrorContains(t, err, "above the limit")

	conditional := []byte(`{"defaultAction":"SCMP_ACT_ERRNO","archMap":[
		{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_AARCH64"}],
		"syscalls":[
		{"name":"read","action":"SCMP_ACT_ALLOW"},
		{"names":["write"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.1"}},
		{"names":["open"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"6.1"}},
		{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}},
		{"names":["umount"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN","CAP_MKNOD"]}},
		{"names":["close"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64"]}},
		{"names":["dup"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}}]}`)
	names := func(target *Target) (names []string) {
		p, err := Load(conditional, target)
		require.NoError(t, err)
		for _, s := range p.Syscalls {
			names = append(names, s.Names...)
		}
		return names
	}
	old, recent := seccomp.KernelVersion{Kernel: 5, Major: 10}, seccomp.KernelVersion{Kernel: 6, Major: 1}
	require.Equal(t, []string{"read", "open", "umount", "close"}, names(&Target{Arch: "amd64", Kernel: old}))
	require.Equal(t, []string{"read", "write", "mount", "dup"}, names(&Target{
		Arch: "arm64", Kernel: recent, Capabilities: []string{"CAP_SYS_ADMIN", "CAP_CHOWN"},
	}))
	p, err := Load(conditional, &Target{Arch: "amd64"})
	require.NoError(t, err)
	require.Equal(t, []specs.Arch{specs.ArchX86_64, specs.ArchX86}, p.Architectures)
}

func TestRunningKernel(t *testing.T) {
	v, err := runningKernel()
	require.NoError(t, err)
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	require.NoError(t, err)
	require.Contains(t, string(release), v.String()+".")
}
