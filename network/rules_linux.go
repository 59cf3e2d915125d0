package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// rules are the two nftables tables of a store. The chains never change; what networks and endpoints there are is in sets and
// maps.
type rules struct {
	name string
	conn *nftables.Conn // what reads
	fd   int            // a socket for transactions, and for the ruleset's generation
	last uint32         // the generation for which the chains are known to be whole; 0: none
}

// openRules opens the tables' connection in the calling thread's network namespace. Nothing is made.
func openRules(name string) (*rules, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", explain(err, "nf_tables"))
	}
	fd, err := openNetfilter()
	if err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}
	return &rules{name: name, conn: conn, fd: fd}, nil
}

func (r *rules) close() error { return errors.Join(r.conn.CloseLasting(), unix.Close(r.fd)) }

// generation returns the number of changes that anybody made to the namespace's rules, or 0 if it cannot be had.
func (r *rules) generation() uint32 {
	msg := make([]byte, unix.SizeofNlMsghdr+4)
	binary.NativeEndian.PutUint32(msg, uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(r.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0
	}
	b := make([]byte, 512)
	n, _, err := unix.Recvfrom(r.fd, b, 0)
	if err != nil || n < unix.SizeofNlMsghdr+4+8 ||
		binary.NativeEndian.Uint16(b[4:]) != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
		return 0
	}
	attr := b[unix.SizeofNlMsghdr+4:]
	if binary.NativeEndian.Uint16(attr[2:]) != unix.NFTA_GEN_ID {
		return 0
	}
	return binary.BigEndian.Uint32(attr[4:])
}

// An element is an entry of a set or map: of the table of family bridge if the set is one of that, else of inet.
type element struct {
	set      string
	key, val []byte
	end      []byte        // of a range that begins with key
	timeout  time.Duration // zero is the set's
}

// An edit adds or deletes an element.
type edit struct {
	element
	remove bool
}

func additions(elements []element) []edit {
	all := make([]edit, len(elements))
	for i, e := range elements {
		all[i] = edit{element: e}
	}
	return all
}

// change makes the edits in one transaction, which the store's documents tell of already. If the tables are not there or not whole, they
// are made anew from those. If an element to be added is there with another value, or one to be deleted is not, then the sets
// are made anew too.
func (r *rules) change(s *Store, edits []edit) error {
	before, whole := r.generation(), true
	if before == 0 || before != r.last {
		var err error
		if whole, err = r.whole(); err != nil {
			return err
		}
	}
	r.last = 0
	err := error(unix.ENOENT)
	if whole {
		err = r.apply(edits)
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOENT) {
		before = r.generation()
		err = r.restore(s)
	}
	if err != nil {
		return fmt.Errorf("change nftables: %w", explain(err, "nf_tables"))
	}
	if after := r.generation(); len(edits) == 0 && after == before || after == before+1 {
		r.last = after
	}
	return nil
}

// drop deletes both tables with all that is in them, in one transaction, whether they are there or not.
func (r *rules) drop() error {
	r.last = 0
	err := r.transact(func(conn *nftables.Conn) error {
		for _, t := range r.tables() {
			conn.AddTable(t.table) // one that is not there cannot be deleted
			conn.DelTable(t.table)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete nftables tables: %w", explain(err, "nf_tables"))
	}
	return nil
}

// remove deletes elements, of which some or all may be gone.
func (r *rules) remove(elements []element) error {
	edits := additions(elements)
	for i := range edits {
		edits[i].remove = true
	}
	before := r.generation()
	err := r.apply(edits)
	if err == nil {
		if r.last == before && r.generation() == before+1 {
			r.last = before + 1
		}
		return nil
	}
	for _, e := range edits {
		if err := r.apply([]edit{e}); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("change nftables: %w", err)
		}
	}
	return nil
}

// perMessage bounds the elements of one message: a list's length is a number of 16 bits.
const perMessage = 200

// apply makes the edits in one transaction.
func (r *rules) apply(edits []edit) error {
	return r.transact(func(c *nftables.Conn) error { return r.edit(c, edits) })
}

// transact makes what build asks of the library in one transaction.
func (r *rules) transact(build func(*nftables.Conn) error) error {
	t, err := encode(build)
	if err != nil {
		return err
	}
	return t.commit(r.fd)
}

// edit puts edits of a kind together, in the order in which their sets come first.
func (r *rules) edit(conn *nftables.Conn, edits []edit) error {
	type kind struct {
		set    string
		remove bool
	}
	var order []kind
	kinds := make(map[kind][]nftables.SetElement)
	for _, e := range edits {
		k := kind{e.set, e.remove}
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], nftables.SetElement{Key: e.key, Val: e.val, KeyEnd: e.end, Timeout: e.timeout})
	}
	for _, k := range order {
		set := r.set(k.set)
		for all := kinds[k]; len(all) > 0; {
			some := all[:min(len(all), perMessage)]
			all = all[len(some):]
			change := conn.SetAddElements
			if k.remove {
				change = conn.SetDeleteElements
			}
			if err := change(set, some); err != nil {
				return fmt.Errorf("elements of nftables set %s: %w", k.set, err)
			}
		}
	}
	return nil
}

// whole tells whether all chains are there with all their rules.
func (r *rules) whole() (bool, error) {
	for _, t := range r.tables() {
		for _, c := range t.chains {
			have, err := r.conn.GetRules(t.table, &nftables.Chain{Name: c.name, Table: t.table})
			if errors.Is(err, unix.ENOENT) {
				return false, nil
			}
			if err != nil {
				return false, fmt.Errorf("list nftables rules: %w", explain(err, "nf_tables"))
			}
			if len(have) != len(c.rules) {
				return false, nil
			}
		}
	}
	return true, nil
}

// restore makes both tables anew in one transaction, with the elements of all networks that are up and all their endpoints.
func (r *rules) restore(s *Store) error {
	var edits []edit
	for _, name := range s.guarded().Interfaces {
		edits = append(edits, edit{element: element{set: "guarded", key: ifname(name)}})
	}
	elements, err := s.elements()
	if err != nil {
		return err
	}
	edits = append(edits, additions(elements)...)
	if err := os.WriteFile(s.path(tablesName), nil, 0o600); err != nil {
		return err
	}
	err = r.transact(func(conn *nftables.Conn) error {
		for _, t := range r.tables() {
			if err := r.make(conn, &t); err != nil {
				return err
			}
		}
		return r.edit(conn, edits)
	})
	if err != nil {
		return fmt.Errorf("make nftables tables: %w", explain(err, "nf_tables with nat, masquerade, fib, conntrack or bridge"))
	}
	return nil
}

// make makes a table anew, without elements.
func (r *rules) make(conn *nftables.Conn, t *table) error {
	// A table that is not there cannot be deleted; adding one that is there does nothing.
	conn.AddTable(t.table)
	conn.DelTable(t.table)
	conn.AddTable(t.table)
	for _, set := range t.sets {
		if err := conn.AddSet(r.set(set.name), nil); err != nil {
			return fmt.Errorf("set %s: %w", set.name, err)
		}
	}
	for _, c := range t.chains {
		conn.AddChain(c.chain(t.table))
	}
	for _, c := range t.chains {
		for _, e := range c.rules {
			conn.AddRule(&nftables.Rule{Table: t.table, Chain: &nftables.Chain{Name: c.name, Table: t.table}, Exprs: e})
		}
	}
	return nil
}
