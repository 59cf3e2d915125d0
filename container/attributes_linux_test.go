package container_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestCapabilitySets gives each set by itself. A program that is executed by root has the bounding set, one that another
// user executes the ambient set, as capabilities(7) says.
func TestCapabilitySets(t *testing.T) {
	for name, x := range map[string]struct {
		sets specs.LinuxCapabilities
		user string
		want string // inheritable, permitted, effective, bounding, ambient
	}{
		"none":    {specs.LinuxCapabilities{}, "", "0 0 0 0 0"},
		"ambient": {sets("net_bind_service", "BPEIA"), "app", "400 400 400 400 400"},
		"no ambient": {sets("CAP_NET_BIND_SERVICE", "BPEI"), "app",
			"400 0 0 400 0"},
		"root": {sets("CAP_NET_BIND_SERVICE", "BPEI"), "", "400 400 400 400 0"},
		"all ambient": {specs.LinuxCapabilities{
			Bounding: []string{"CHOWN", "NET_BIND_SERVICE", "KILL"}, Permitted: []string{"CHOWN", "KILL"},
			Effective: []string{"KILL"}, Inheritable: []string{"CHOWN"}, Ambient: []string{"CHOWN"},
		}, "app", "1 1 1 421 1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContainer(t, "status", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
			c.Capabilities, c.User = &x.sets, x.user
			var have []string
			for line := range strings.Lines(output(t, c)) {
				_, set, _ := strings.Cut(strings.TrimSpace(line), "\t")
				set = strings.TrimLeft(set, "0")
				if set == "" {
					set = "0"
				}
				have = append(have, set)
			}
			require.Equal(t, x.want, strings.Join(have, " "))
		})
	}
}

// sets gives the capability to the sets whose first letters are in where.
func sets(name, where string) (s specs.LinuxCapabilities) {
	for _, w := range where {
		switch w {
		case 'B':
			s.Bounding = []string{name}
		case 'P':
			s.Permitted = []string{name}
		case 'E':
			s.Effective = []string{name}
		case 'I':
			s.Inheritable = []string{name}
		case 'A':
			s.Ambient = []string{name}
		}
	}
	return s
}

// TestCapabilityNotOwned: what the host program has not got it cannot give.
func TestCapabilityNotOwned(t *testing.T) {
	missing := namespace.KnownCapabilities &^ namespace.OwnCapabilities()
	if missing == 0 {
		t.Skip("needs a capability that root lacks here")
	}
	name := missing.Names()[0]
	c := newContainer(t, "id")
	s := sets(name, "BPE")
	c.Capabilities = &s
	require.ErrorContains(t, c.Run(t.Context()), "capset", name)
}

// TestAttributesOfCommands: a command that is executed in a container has the container's, unless they are changed.
func TestAttributesOfCommands(t *testing.T) {
	c := newContainer(t, "trap")
	c.CPUAffinity = &specs.CPUAffinity{Final: "0"}
	c.Landlock = &namespace.Landlock{BestEffort: true, Files: []namespace.LandlockFiles{
		{Path: "/bin", Access: namespace.LandlockRead | namespace.LandlockExecute},
		{Path: "/proc", Access: namespace.LandlockRead},
	}}
	ready(t, c)
	p := c.Command("status", "Cpus_allowed_list", "NoNewPrivs")
	require.Equal(t, "NoNewPrivs:\t1\nCpus_allowed_list:\t0\n", output2(t, p))
	p = c.Command("read", "/etc/passwd")
	p.Landlock = nil
	require.Contains(t, output2(t, p), "root")
	out, err := c.Command("read", "/etc/passwd").CombinedOutput(t.Context())
	require.Error(t, err)
	require.Contains(t, string(out), "permission denied")
	require.NoError(t, c.Stop(t.Context()))
}

func TestSysctlDomainname(t *testing.T) {
	c := newContainer(t, "read", "/proc/sys/kernel/domainname")
	c.Sysctls = map[string]string{"kernel.domainname": "example.org"}
	require.Equal(t, "example.org\n", output(t, c))
}

// TestLowerOOMScore takes CAP_SYS_RESOURCE, which root lacks on some machines; then the start says what failed.
func TestLowerOOMScore(t *testing.T) {
	resource, err := namespace.ParseCapabilities("SYS_RESOURCE")
	require.NoError(t, err)
	score := -500
	c := newContainer(t, "read", "/proc/self/oom_score_adj")
	c.OOMScoreAdj = &score
	if namespace.OwnCapabilities()&resource == 0 {
		require.ErrorContains(t, c.Run(t.Context()), "/proc/self/oom_score_adj: permission denied")
		return
	}
	require.Equal(t, "-500\n", output(t, c))
}

// TestRaiseHardLimit takes CAP_SYS_RESOURCE, too.
func TestRaiseHardLimit(t *testing.T) {
	testenv.RequireRoot(t)
	resource, err := namespace.ParseCapabilities("SYS_RESOURCE")
	require.NoError(t, err)
	queue, ok := namespace.RlimitByName("msgqueue")
	require.True(t, ok)
	var own syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(queue, &own))
	require.NotEqual(t, uint64(namespace.RlimitInfinity), own.Max)
	own.Max++
	c := newContainer(t, "read", "/proc/self/limits")
	c.Rlimits = []container.Rlimit{{Resource: queue, Soft: 100, Hard: own.Max}}
	if namespace.OwnCapabilities()&resource == 0 {
		require.ErrorContains(t, c.Run(t.Context()), "(raising a hard limit takes CAP_SYS_RESOURCE)")
		return
	}
	require.Regexp(t, fmt.Sprintf(`Max msgqueue size +\d+ +%d `, own.Max), output(t, c))
}
