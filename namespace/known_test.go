package namespace

import (
	"fmt"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestMountOptionsAreKnown: what is said to be known is not handed on to the file system.
func TestMountOptionsAreKnown(t *testing.T) {
	all := MountOptions()
	for _, o := range []string{"ro", "rro", "rbind", "rslave", "nosuid", "noexec", "tmpcopyup", "ridmap", "lazytime", "relatime"} {
		require.Contains(t, all, o)
	}
	for _, o := range all {
		if o == "idmap" || o == "ridmap" {
			continue
		}
		m := Mount{Type: "tmpfs"}
		require.NoError(t, m.SetOptions(o), o)
		if m.Data != "" {
			require.Contains(t, superOptions, o)
		}
	}
}

func TestMemoryPoliciesAreKnown(t *testing.T) {
	modes, flags := MemoryPolicies()
	for _, m := range modes {
		p := &specs.LinuxMemoryPolicy{Mode: specs.MemoryPolicyModeType(m), Nodes: "0"}
		if m == "MPOL_DEFAULT" || m == "MPOL_LOCAL" {
			p.Nodes = ""
		}
		require.NoError(t, (&Attributes{MemoryPolicy: p}).CheckAttributes(), m)
	}
	for _, f := range flags {
		p := &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MemoryPolicyFlagType(f)}}
		require.NoError(t, (&Attributes{MemoryPolicy: p}).CheckAttributes(), f)
	}
}

func TestStreamString(t *testing.T) {
	require.Equal(t, "stdout stderr stream 3", fmt.Sprint(Stdout, Stderr, Stream(3)))
}
