package network

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/caisson-engine/caisson/internal/durable"
)

const (
	endpointsName = "endpoints"
	seqName       = ".seq"
)

// An index is what this process knows of a network's endpoints. It is read anew when the number in the network's file .seq
// has changed, and then only what is new: but all of it when the number's upper half has changed. Who changes an endpoint makes the number odd before and even after, under the
// store's lock; what was read while it was odd, or before it changed, is not relied on.
type index struct {
	mu    sync.RWMutex
	seq   uint64
	fresh bool
	all   map[string]*Endpoint
	addrs map[netip.Addr]*Endpoint
	macs  map[string]*Endpoint
	boxes map[string]*Endpoint // by sandbox
	names map[string][]*Endpoint
	ports map[portKey][]*Endpoint
	last  map[bool]netip.Addr // the address given out last, by family

	leaves map[int]int // how many endpoints are on each; 0 is the network's bridge
}

func newIndex() *index {
	return &index{
		all: make(map[string]*Endpoint), addrs: make(map[netip.Addr]*Endpoint), macs: make(map[string]*Endpoint),
		names: make(map[string][]*Endpoint), boxes: make(map[string]*Endpoint),
		ports: make(map[portKey][]*Endpoint), last: make(map[bool]netip.Addr), leaves: make(map[int]int),
	}
}

// index returns the network's index, as fresh as the folder was when it was called.
func (s *Store) index(name string) (*index, error) {
	s.indexMu.Lock()
	x := s.indexes[name]
	if x == nil {
		x = newIndex()
		s.indexes[name] = x
	}
	s.indexMu.Unlock()
	seq, err := s.seq(name)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fresh && x.seq == seq {
		return x, nil
	}
	entries, err := os.ReadDir(s.path(name, endpointsName))
	if err != nil {
		return nil, err
	}
	again := seq>>32 != x.seq>>32
	there := make(map[string]bool, len(entries))
	for _, entry := range entries {
		id, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		there[id] = true
		if old := x.all[id]; old != nil {
			if old.Interface != "" && !again {
				continue
			}
			x.remove(id) // it was read while it was being attached
		}
		e := &Endpoint{}
		err := durable.ReadJSON(s.path(name, endpointsName, entry.Name()), maxMeta, e)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || e.ID != id {
			e = &Endpoint{} // damaged by a loss of power: nothing lives that it could speak of
		}
		e.ID, e.Network = id, name
		x.add(e)
	}
	for id := range x.all {
		if !there[id] {
			x.remove(id)
		}
	}
	x.seq, x.fresh = seq, seq%2 == 0
	return x, nil
}

// seq reads a network's number of changes.
func (s *Store) seq(name string) (uint64, error) {
	b, err := os.ReadFile(s.path(name, endpointsName, seqName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) != 8 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// changing makes the number odd; the caller holds the store's lock. done makes it even: x then has all that the folder has. other says
// that what was there says something else then, which those who know it are to read again.
func (s *Store) changing(name string, x *index, other bool) (done func(), err error) {
	f, err := os.OpenFile(s.path(name, endpointsName, seqName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var b [8]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return nil, errors.Join(err, f.Close())
	}
	seq := binary.LittleEndian.Uint64(b[:])
	other = other || seq%2 == 1 // somebody was killed
	seq |= 1
	put := func(n uint64) error {
		_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 0)
		return err
	}
	if err := put(seq); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		seq++
		if other {
			seq += 1 << 32 // not before: what was read meanwhile is read again
		}
		err := put(seq)
		x.mu.Lock()
		x.seq, x.fresh = seq, err == nil && x.fresh
		x.mu.Unlock()
		_ = f.Close()
	}, nil
}

// keepEndpoint writes an endpoint's document, a new one or in place of the old. The index gets it as it is now.
func (s *Store) keepEndpoint(x *index, e *Endpoint) error {
	x.mu.RLock()
	old := x.all[e.ID]
	x.mu.RUnlock()
	done, err := s.changing(e.Network, x, old != nil && old.Interface != "" && old.Interface != e.Interface)
	if err != nil {
		return err
	}
	defer done()
	return s.writeEndpoint(x, e)
}

// writeEndpoint is keepEndpoint for who has made the number odd.
func (s *Store) writeEndpoint(x *index, e *Endpoint) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	tmp := s.path(e.Network, endpointsName, ".tmp-"+e.ID)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, s.path(e.Network, endpointsName, e.ID+".json")); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	kept := *e
	x.mu.Lock()
	x.remove(e.ID)
	x.add(&kept)
	x.mu.Unlock()
	return nil
}

// dropEndpoint removes an endpoint's document.
func (s *Store) dropEndpoint(x *index, e *Endpoint) error {
	done, err := s.changing(e.Network, x, false)
	if err != nil {
		return err
	}
	defer done()
	err = os.Remove(s.path(e.Network, endpointsName, e.ID+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x.mu.Lock()
	x.remove(e.ID)
	x.mu.Unlock()
	return nil
}

// add and remove need mu.
func (x *index) add(e *Endpoint) {
	x.all[e.ID] = e
	x.leaves[e.Leaf]++
	if e.Sandbox != "" {
		x.boxes[e.Sandbox] = e
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			x.addrs[p.Addr()] = e
			x.last[p.Addr().Is6()] = p.Addr()
		}
	}
	if e.MAC != "" {
		x.macs[e.MAC] = e
	}
	for _, name := range e.Names {
		key := strings.ToLower(name)
		x.names[key] = append(x.names[key], e)
	}
	for _, p := range e.Ports {
		key := portKey{p.Protocol, p.Host}
		x.ports[key] = append(x.ports[key], e)
	}
}

// A portKey is a published port, on whatever address.
type portKey struct {
	protocol string
	host     uint16
}

// publishes tells whether an endpoint publishes a port that clashes with p.
func (x *index) publishes(p Port) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.ports[portKey{p.Protocol, p.Host}] {
		for _, o := range e.Ports {
			if o.Protocol == p.Protocol && o.Host == p.Host && sameAddress(o.Address, p.Address) {
				return true
			}
		}
	}
	return false
}

// sameAddress tells whether two addresses to publish on have one in common.
func sameAddress(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	return a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

func (x *index) remove(id string) {
	e := x.all[id]
	if e == nil {
		return
	}
	delete(x.all, id)
	x.leaves[e.Leaf]--
	if x.boxes[e.Sandbox] == e {
		delete(x.boxes, e.Sandbox)
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if x.addrs[p.Addr()] == e {
			delete(x.addrs, p.Addr())
		}
	}
	if x.macs[e.MAC] == e {
		delete(x.macs, e.MAC)
	}
	for _, p := range e.Ports {
		key := portKey{p.Protocol, p.Host}
		left := slices.DeleteFunc(slices.Clone(x.ports[key]), func(o *Endpoint) bool { return o == e })
		if len(left) == 0 {
			delete(x.ports, key)
		} else {
			x.ports[key] = left
		}
	}
	for _, name := range e.Names {
		key := strings.ToLower(name)
		left := slices.DeleteFunc(slices.Clone(x.names[key]), func(o *Endpoint) bool { return o == e })
		if len(left) == 0 {
			delete(x.names, key)
		} else {
			x.names[key] = left
		}
	}
}

func (x *index) list() []Endpoint {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make([]Endpoint, 0, len(x.all))
	for _, id := range slices.Sorted(maps.Keys(x.all)) {
		all = append(all, *x.all[id])
	}
	return all
}

// torn tells whether the number was odd when it was read: under the store's lock, that somebody was killed who made a change.
func (x *index) torn() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.seq%2 == 1
}

func (x *index) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.all)
}

// taken tells whether an endpoint has the address.
func (x *index) taken(a netip.Addr) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.addrs[a] != nil
}
