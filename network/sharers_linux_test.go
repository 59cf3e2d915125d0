package network

import (
	"errors"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSharerOutlives: when a container on an interface of the host has ended, and one that joined its network has not, then its interface is gone
// all the same before its address is given to another; other interfaces there stay.
func TestSharerOutlives(t *testing.T) {
	for _, driver := range []Driver{Macvlan, Ipvlan} {
		t.Run(string(driver), func(t *testing.T) {
			host, _, client := world(t)
			s := newStore(t, host)
			_, err := s.Create(t.Context(), "net", nil)
			require.NoError(t, err)
			_, err = s.Create(t.Context(), "lan", &CreateOptions{Driver: driver, Interface: "lan", Subnets: []Subnet{{
				Prefix: netip.MustParsePrefix("10.1.0.0/24"), Range: netip.MustParsePrefix("10.1.0.64/26"),
			}}})
			require.NoError(t, err)
			m, pid, end := startBox(t)
			b, err := s.Sandbox(pid, &SandboxOptions{ID: "first"})
			require.NoError(t, err)
			first, err := b.Attach(t.Context(), "lan", nil)
			if errors.Is(err, errors.ErrUnsupported) {
				require.NoError(t, b.Close())
				t.Skip("needs the kernel's " + string(driver))
			}
			require.NoError(t, err)
			attach(t, b, "net", nil)
			sharer := exec.Command("/proc/self/exe")
			sharer.Args = []string{"pause"}
			in, err := sharer.StdinPipe()
			require.NoError(t, err)
			m.in(sharer.Start)
			t.Cleanup(func() {
				_ = in.Close()
				_ = sharer.Wait()
			})
			m.command("ip", "link", "add", "own", "type", "bridge")
			b.Forget() // who attached it does not see its end
			kept, err := namespaceFile(nil, sharer.Process.Pid, "net")
			require.NoError(t, err)
			t.Cleanup(func() { _ = kept.Close() })
			end()
			there := &machine{t, kept}
			require.Contains(t, linksOf(there), first.Interface)
			require.NoError(t, s.Release(t.Context(), "first"))
			require.ElementsMatch(t, []string{"lo", "own"}, linksOf(there))

			b, m = newSandbox(t, s, "second")
			_, err = b.Attach(t.Context(), "lan", &EndpointOptions{IPv4: first.IPv4.Addr()})
			require.NoError(t, err)
			client.serve(80)
			m.sees("tcp", "10.2.0.2:80", first.IPv4.Addr().String())
		})
	}
}
