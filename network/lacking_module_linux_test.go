package network

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/vm/job"
)

// TestKernelWithoutModule: where the kernel has no bridges, no pairs or no macvlan the error names what it lacks, nothing is left, and with the
// module all is as if nothing had been.
func TestKernelWithoutModule(t *testing.T) {
	testenv.RequireRoot(t)
	if _, err := os.Stat(job.Modules); err != nil || !testenv.VM() {
		t.Skip("needs modules that can be taken out of the kernel, as internal/vm has")
	}
	for lacking, modules := range map[string][]string{
		"bridge": {"bridge", "br_netfilter", "nft_meta_bridge"}, "veth": {"veth"}, "macvlan": {"macvlan"},
	} {
		t.Run(lacking, func(t *testing.T) {
			host, client := neighbours(t)
			s := newStore(t, host)
			_, err := s.Create(t.Context(), "net", &CreateOptions{Subnets: prefixes("10.9.0.0/24")})
			require.NoError(t, err)
			_, err = s.Create(t.Context(), "lan", &CreateOptions{Driver: Macvlan, Interface: "lan", Subnets: prefixes("10.6.0.0/24")})
			require.NoError(t, err)
			network := "net"
			if lacking == "macvlan" {
				network = "lan"
			}
			without(t, modules, func() { refused(t, s, host, network, "the kernel lacks "+lacking) })
			if lacking != "veth" { // with which the cable between the machines went
				published(t, s, host, client)
			}
			require.NoError(t, s.Check(t.Context()))
		})
	}
}

// without runs f while the kernel lacks the modules.
func without(t *testing.T, modules []string, f func()) {
	t.Helper()
	defer func() {
		for _, name := range modules {
			b, err := os.ReadFile(filepath.Join(job.Modules, name+".ko"))
			require.NoError(t, err)
			err = unix.InitModule(b, "")
			if !errors.Is(err, unix.EEXIST) {
				require.NoError(t, err, name)
			}
		}
	}()
	for _, name := range slices.Backward(modules) {
		require.Eventually(t, func() bool { // what other tests had goes with their network namespaces, later
			err := unix.DeleteModule(name, unix.O_NONBLOCK)
			return err == nil || errors.Is(err, unix.ENOENT)
		}, time.Minute, 10*time.Millisecond, name)
	}
	f()
}
