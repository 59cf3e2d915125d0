package namespace

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSeccomp loads Docker's default profile in both orders: last, with no_new_privs, and before the capabilities go.
func TestSeccomp(t *testing.T) {
	testenv.RequireRoot(t)
	filter, err := seccomp.Default(DefaultCapabilities(), false)
	require.NoError(t, err)
	dir := testenv.NewRootfs(t, "describe", "forbidden")
	for _, user := range []User{{}, {UID: 1000, GID: 1000, Groups: []uint32{5, 6}}} {
		for _, privileges := range []bool{false, true} {
			l := defaultLaunch(Dir(dir), "describe")
			l.Seccomp, l.NewPrivileges, l.User = filter, privileges, user
			if user.UID != 0 {
				l.Capabilities.Effective, l.Capabilities.Permitted = 0, 0
			}
			out, s := output(t, l)
			require.Zero(t, s.Code, out)
			require.Contains(t, out, "Seccomp:\t2\nSeccomp_filters:\t1\n")
			if privileges {
				require.Contains(t, out, "NoNewPrivs:\t0")
			} else {
				require.Contains(t, out, "NoNewPrivs:\t1")
			}
			require.Contains(t, out, "CapBnd:\t00000000a80425fb")
			if user.UID != 0 {
				require.Contains(t, out, "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000")
				require.Contains(t, out, "Groups:\t5 6 \n")
				require.Contains(t, out, "CapEff:\t0000000000000000")
			}
			l.Args = []string{"forbidden"}
			out, s = output(t, l)
			require.Zero(t, s.Code, out)
		}
	}
}

// forbidden is a helper program that tries what the default profile denies.
func forbidden([]string) int {
	_, _, e := unix.RawSyscall(unix.SYS_KEYCTL, 0, 0, 0)
	if e != unix.EPERM {
		println("keyctl:", e.Error())
		return 1
	}
	if err := unix.Mount("x", "/tmp", "tmpfs", 0, ""); err != unix.EPERM {
		println("mount:", err.Error())
		return 1
	}
	return 0
}

// TestKeptCapabilities gives capabilities to a process that is not root: ambient ones survive its execution.
func TestKeptCapabilities(t *testing.T) {
	testenv.RequireRoot(t)
	net, err := ParseCapabilities("NET_BIND_SERVICE")
	require.NoError(t, err)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe")
	l.User = User{UID: 1000, GID: 1000}
	l.Capabilities = Capabilities{Bounding: net, Effective: net, Permitted: net, Inheritable: net, Ambient: net}
	out, s := output(t, l)
	require.Zero(t, s.Code)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		require.Contains(t, out, set+":\t0000000000000400")
	}
}

func TestNoCapabilities(t *testing.T) {
	testenv.RequireRoot(t)
	l := defaultLaunch(Dir(testenv.NewRootfs(t, "describe")), "describe")
	l.Capabilities = Capabilities{}
	out, s := output(t, l)
	require.Zero(t, s.Code)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		require.Contains(t, out, set+":\t0000000000000000")
	}
}
