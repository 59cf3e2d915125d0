package seccomp

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestKnows: what is said to be known is taken.
func TestKnows(t *testing.T) {
	for goarch := range machines() {
		k := Knows(goarch)
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{}}
		for _, a := range k.Archs {
			p.Architectures = append(p.Architectures, specs.Arch(a))
		}
		for _, f := range k.Flags {
			p.Flags = append(p.Flags, specs.LinuxSeccompFlag(f))
		}
		for _, a := range k.Actions {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.LinuxSeccompAction(a)})
		}
		for _, o := range k.Operators {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{
				Names: []string{"write"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: specs.LinuxSeccompOperator(o)}},
			})
		}
		require.NoError(t, Check(p), goarch)
	}
	require.Empty(t, Knows("mips").Archs)
}
