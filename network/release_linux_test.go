package network

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// forwarding is a machine that forwards before there is a network, as a host of other containers does.
func forwarding(t *testing.T) *machine {
	m := newMachine(t)
	filterBridged(t, m, "0")
	for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		m.in(func() error { return writeSysctl(path, "1") })
	}
	return m
}

// TestRelease: who notices that a container has ended that another process attached takes back all that it had, at once: its
// addresses, ports, interfaces, and with the last one the bridges.
func TestRelease(t *testing.T) {
	host := forwarding(t)
	s := newStore(t, host)
	for _, name := range []string{"one", "two"} {
		_, err := s.Create(t.Context(), name, &CreateOptions{IPv6: true})
		require.NoError(t, err)
	}
	box := func(id string) (end func()) {
		_, pid, end := startBox(t)
		b, err := s.Sandbox(pid, &SandboxOptions{ID: id, NoResolver: true})
		require.NoError(t, err)
		attach(t, b, "one", &EndpointOptions{Ports: []Port{{Container: 80, Host: 8080}}})
		attach(t, b, "two", nil)
		b.Forget()
		return end
	}
	another, err := Open(s.docs.Dir, &Options{Namespace: host.path(), Table: "caisson"})
	require.NoError(t, err)
	defer another.Close()
	for range 2 {
		end := box("left")
		require.NoError(t, another.Release(t.Context(), "nobody"))
		require.NoError(t, another.Check(t.Context()), "what is another's stays")
		end()
		require.NoError(t, another.Release(t.Context(), "left"))
		require.NoError(t, another.Check(t.Context()))
		for _, name := range []string{"one", "two"} {
			all, err := another.Endpoints(name)
			require.NoError(t, err)
			require.Empty(t, all)
		}
		require.Equal(t, []string{"lo"}, linksOf(host))
		require.NoError(t, another.Release(t.Context(), "left"), "once more")
	}
	require.ErrorIs(t, s.Release(t.Context(), ""), ErrInvalid)
}

// TestRemoveLeft: bridges that somebody was about to remove who was killed go with their network.
func TestRemoveLeft(t *testing.T) {
	host := forwarding(t)
	s := newStore(t, host)
	s.perBridge = 1
	n, err := s.Create(t.Context(), "net", nil)
	require.NoError(t, err)
	for _, id := range []string{"one", "two"} {
		b, _ := newSandbox(t, s, id)
		attach(t, b, "net", nil)
	}
	c, err := s.lock(t.Context())
	require.NoError(t, err)
	func() {
		defer c.Close()
		h, err := s.openHost()
		require.NoError(t, err)
		x, err := s.index("net")
		require.NoError(t, err)
		for _, e := range x.list() {
			elements := networkElements(&n)
			if e.Leaf != 0 {
				elements = leafElements(&n, e.Leaf)
			}
			require.NoError(t, s.takeBack(h, x, &e, elements)) // as release does, up to the bridges
		}
	}()
	require.Len(t, linksOf(host), 5, "loopback, two bridges and the pair between them")
	require.NoError(t, s.Remove(t.Context(), "net"))
	require.Equal(t, []string{"lo"}, linksOf(host))
	require.NoError(t, s.Check(t.Context()))
}

// TestTablesGo: the tables stay while a store is open and something is attached, and go with the last one, whichever process's it is.
func TestTablesGo(t *testing.T) {
	testenv.RequireCommand(t, "nft")
	host := forwarding(t)
	dir := t.TempDir()
	open := func() *Store {
		t.Helper()
		s, err := Open(dir, &Options{Namespace: host.path(), Table: "caisson"})
		require.NoError(t, err)
		return s
	}
	ruleset := func() string { return host.command("nft", "list", "ruleset") }
	s := open()
	for i := range 2 {
		_, err := s.Create(t.Context(), fmt.Sprint("net", i), nil)
		require.NoError(t, err)
	}
	_, pid, end := startBox(t)
	box := func(s *Store) *Sandbox {
		b, err := s.Sandbox(pid, &SandboxOptions{ID: "box", NoResolver: true})
		require.NoError(t, err)
		return b
	}
	b := box(s)
	attach(t, b, "net0", nil)
	b.Forget()
	require.Zero(t, host.transactions(func() { require.NoError(t, open().Close()) }), "something is attached")
	require.NoError(t, s.Release(t.Context(), "box"))
	require.Contains(t, ruleset(), "table inet caisson", "the next one is attached sooner")
	require.Equal(t, 1, host.transactions(func() { require.NoError(t, s.Close()) }))
	require.Empty(t, ruleset())

	// One store is closed while another one's containers come and go.
	s = open()
	b = box(s)
	attach(t, b, "net0", nil)
	require.NoError(t, b.Close())
	require.NoError(t, open().Close())
	require.Empty(t, ruleset())
	require.Equal(t, 1, host.transactions(func() { b = box(s); attach(t, b, "net1", nil) }), "the tables and all")
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, b.Close())

	// As somebody leaves them who was killed.
	s.closeParameters()
	require.NoError(t, s.host.close())
	s.host = nil
	require.NoError(t, s.ns.Close())
	require.Contains(t, ruleset(), "table inet caisson")
	require.NoError(t, open().Close())
	require.Empty(t, ruleset())
	end()

	errs := make([]error, 3)
	var group sync.WaitGroup
	for i := range errs {
		_, pid, end := startBox(t)
		defer end()
		group.Go(func() {
			errs[i] = func() error {
				for j := range 4 {
					o, err := Open(dir, &Options{Namespace: host.path(), Table: "caisson"})
					if err != nil {
						return err
					}
					b, err := o.Sandbox(pid, &SandboxOptions{ID: fmt.Sprint("rival", i), NoResolver: true})
					if err != nil {
						return errors.Join(err, o.Close())
					}
					_, err = b.Attach(context.Background(), fmt.Sprint("net", j%2), &EndpointOptions{Ports: []Port{{Container: 80}}})
					if err := errors.Join(err, o.Check(context.Background()), b.Close(), o.Close()); err != nil {
						return err
					}
				}
				return nil
			}()
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Empty(t, ruleset())
	require.Equal(t, []string{"lo"}, linksOf(host))
}
