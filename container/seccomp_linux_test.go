package container_test

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// TestSeccompFields: what is wrong with a profile is named by its path in the configuration.
func TestSeccompFields(t *testing.T) {
	errno := uint(5000)
	rule := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read"}, Action: specs.ActErrno}, s,
		}}
	}
	for field, p := range map[string]*specs.LinuxSeccomp{
		"seccomp.defaultAction":    {},
		"seccomp.architectures[0]": {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"x86"}},
		"seccomp.flags[0]": {
			DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"TSYNC"},
		},
		"seccomp.syscalls[1].action":   rule(specs.LinuxSyscall{Names: []string{"read"}, Action: "ALLOW"}),
		"seccomp.syscalls[1].errnoRet": rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &errno}),
		"seccomp.syscalls[1].names":    rule(specs.LinuxSyscall{Action: specs.ActErrno}),
		"seccomp.syscalls[1].args[0].op": rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno,
			Args: []specs.LinuxSeccompArg{{Op: "=="}}}),
	} {
		c := container.New(namespace.Dir(t.TempDir()), "true")
		c.Seccomp = p
		var start *container.StartError
		require.ErrorAs(t, c.Start(t.Context()), &start, field)
		require.Equal(t, "check", start.Step)
		require.Equal(t, field, start.Path)
	}
}

func TestLoadSeccomp(t *testing.T) {
	profile := []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
		{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
		{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}], "syscalls": [
		{"name": "mkdir", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
		{"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "includes": {"minKernel": "5.0"}},
		{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "250.0"}}]}`)
	names := func(c *container.Container) (names []string) {
		require.NoError(t, c.LoadSeccomp(profile))
		for _, s := range c.Seccomp.Syscalls {
			names = append(names, s.Names...)
		}
		return names
	}
	c := &container.Container{}
	require.Equal(t, []string{"rmdir"}, names(c))
	require.Len(t, c.Seccomp.Architectures, 2)
	c.CapDrop = []string{"CHOWN"}
	require.Equal(t, []string{"mkdir", "rmdir"}, names(c))

	for field, text := range map[string]string{
		"Seccomp":                    `{"defaultAction": 1}`,
		"seccomp.defaultAction":      `{}`,
		"seccomp.syscalls[0]":        `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [null]}`,
		"seccomp.syscalls[0].action": `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "kill"}]}`,
	} {
		c := &container.Container{}
		var start *container.StartError
		require.ErrorAs(t, c.LoadSeccomp([]byte(text)), &start, text)
		require.Equal(t, field, start.Path)
		require.Nil(t, c.Seccomp)
	}
	require.Error(t, c.LoadSeccomp(make([]byte, 2<<20)))
	c.CapAdd = []string{"NOSUCH"}
	require.ErrorContains(t, c.LoadSeccomp(profile), "CapAdd")
}
