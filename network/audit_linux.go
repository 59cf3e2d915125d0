package network

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// auditEvery is how often what was tried is read.
const auditEvery = 250 * time.Millisecond

// An auditor reads what sandboxes of this process tried, and tells those who asked. It runs while there are some.
type auditor struct {
	rules *rules
	stop  chan struct{}
	group sync.WaitGroup

	reading sync.Mutex
	mu      sync.Mutex // of watched
	watched map[netip.Addr]*watched
}

type watched struct {
	b *Sandbox
	e *Endpoint
}

// watch begins to audit an endpoint that was attached. The caller holds the store's lock.
func (b *Sandbox) watch(e *Endpoint) error {
	if b.o.Audit == nil || len(e.Egress) == 0 {
		return nil
	}
	s := b.s
	if s.auditor == nil {
		a := &auditor{stop: make(chan struct{}), watched: make(map[netip.Addr]*watched)}
		err := inside(s.ns, func() (err error) {
			a.rules, err = openRules(s.table)
			return err
		})
		if err != nil {
			return err
		}
		a.group.Go(a.run)
		s.auditor = a
	}
	s.auditor.mu.Lock()
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			s.auditor.watched[p.Addr()] = &watched{b, e}
		}
	}
	s.auditor.mu.Unlock()
	return nil
}

// unwatch reads once more and stops auditing the endpoint. The caller holds the store's lock.
func (s *Store) unwatch(e *Endpoint) error {
	a := s.auditor
	if a == nil || a.of(e) == nil {
		return nil
	}
	a.read()
	a.mu.Lock()
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		delete(a.watched, p.Addr())
	}
	rest := len(a.watched)
	a.mu.Unlock()
	if rest > 0 {
		return nil
	}
	s.auditor = nil
	close(a.stop)
	a.group.Wait()
	return a.rules.close()
}

func (a *auditor) of(e *Endpoint) *watched {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if w := a.watched[p.Addr()]; p.IsValid() && w != nil && w.e.ID == e.ID {
			return w
		}
	}
	return nil
}

func (a *auditor) run() {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
			a.read()
		}
	}
}

// read takes what was tried since the last time.
func (a *auditor) read() {
	a.reading.Lock()
	defer a.reading.Unlock()
	for _, f := range families {
		for _, set := range []string{"passed", "passedother", "refused", "refusedother"} {
			a.readSet(set+f.suffix, int(f.saddr.size), strings.HasPrefix(set, "passed"))
		}
	}
}

func (a *auditor) readSet(set string, size int, allowed bool) {
	have, err := a.rules.conn.GetSetElements(a.rules.set(set))
	if err != nil {
		return // it is read the next time
	}
	var gone []element
	for _, el := range have {
		from, ok := netip.AddrFromSlice(el.Key[:min(size, len(el.Key))])
		a.mu.Lock()
		w := a.watched[from]
		a.mu.Unlock()
		if !ok || w == nil {
			continue
		}
		gone = append(gone, element{set: set, key: el.Key})
		to, protocol, port := readTuple(el.Key, size)
		w.b.audit(Attempt{
			Network: w.e.Network, Allowed: allowed, Protocol: protocolName(protocol), Address: to, Port: port,
		})
	}
	if len(gone) > 0 {
		_ = a.rules.remove(gone) // what is not removed is told again
	}
}

// audit tells of an attempt.
func (b *Sandbox) audit(a Attempt) {
	if b.o.Audit == nil {
		return
	}
	b.auditMu.Lock()
	defer b.auditMu.Unlock()
	a.Time, a.Sandbox = time.Now().UTC(), b.o.ID
	b.o.Audit(a)
}

func protocolName(p uint8) string {
	switch p {
	case protoICMP, protoICMPv6:
		return "icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoSCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// closeAuditor ends what sandboxes that were not closed left.
func (s *Store) closeAuditor() error {
	a := s.auditor
	if a == nil {
		return nil
	}
	s.auditor = nil
	close(a.stop)
	a.group.Wait()
	return a.rules.close()
}
