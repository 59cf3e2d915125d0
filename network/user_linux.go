package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// joinUser makes an endpoint's interface in user mode. The caller holds the store's lock.
func (b *Sandbox) joinUser(ctx context.Context, n *Network, o *EndpointOptions, e *Endpoint) (UserLink, error) {
	if n.Driver != Bridge {
		return nil, invalid("Driver", "%s takes the privilege to change the host's network", n.Driver)
	}
	r := b.userResolver()
	own := *e
	u := &UserEndpoint{
		NetworkNamespace: b.ns, UserNamespace: b.user, Network: *n, Endpoint: own, Metric: (maxPriority - o.GatewayPriority) * perPriority,
		Answer: r.answer,
		Allow:  func(protocol uint8, to netip.AddrPort) bool { return b.allowUser(&own, protocol, to) },
	}
	u.Endpoint.Interface = o.Interface
	for range perPriority {
		if !slices.Contains(b.metrics(), u.Metric) {
			break
		}
		u.Metric++
	}
	link, err := b.s.o.UserMode.Join(ctx, u)
	if err != nil {
		return nil, err
	}
	e.Interface = link.Interface()
	b.userMetrics = append(b.userMetrics, u.Metric)
	return link, nil
}

func (b *Sandbox) metrics() []int { return b.userMetrics }

// userResolver is the sandbox's resolver without sockets of its own.
func (b *Sandbox) userResolver() *resolver {
	if b.resolver == nil {
		b.resolver = &resolver{b: b, slots: make(chan struct{}, dnsQueries), conns: make(map[net.Conn]bool)}
		b.resolver.ctx, b.resolver.cancel = context.WithCancel(context.Background())
	}
	return b.resolver
}

// allowUser tells whether a connection is allowed by the endpoint's allow-lists.
func (b *Sandbox) allowUser(e *Endpoint, protocol uint8, to netip.AddrPort) bool {
	if len(e.Egress) == 0 {
		return true
	}
	a := to.Addr()
	ok := e.Egress.Allows(a, protocol, to.Port(), b.learned.names(a)...)
	if ok && isHosts(a) {
		ok = e.Egress.allowsSingle(a, protocol, to.Port())
	}
	b.audit(Attempt{Network: e.Network, Allowed: ok, Protocol: protocolName(protocol), Address: a, Port: to.Port()})
	return ok
}

// allowsSingle is Allows by rules for the single address alone.
func (p Policies) allowsSingle(a netip.Addr, protocol uint8, port uint16) bool {
	var single Policies
	for _, e := range p {
		var kept Egress
		for _, r := range e.Allow {
			if r.Name == "" && r.Prefix.IsSingleIP() {
				kept.Allow = append(kept.Allow, r)
			}
		}
		single = append(single, kept)
	}
	return single.Allows(a, protocol, port)
}

// isHosts tells whether an address is one of the host's own.
func isHosts(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, own := range addrs {
		if n, ok := own.(*net.IPNet); ok && n.IP.Equal(a.AsSlice()) {
			return true
		}
	}
	return false
}

// learnedNames are the names that a sandbox was told to stand for addresses, and until when.
type learnedNames struct {
	mu  sync.Mutex
	all map[netip.Addr]map[string]time.Time
	n   int
}

// learn notes the addresses of a name.
func (l *learnedNames) learn(name string, addrs []netip.Addr, ttl time.Duration) {
	until := time.Now().Add(min(max(ttl, minLearned), mostLearned-grace) + grace)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= maxLearned {
		l.sweep()
	}
	for _, a := range addrs {
		if l.all == nil {
			l.all = make(map[netip.Addr]map[string]time.Time)
		}
		if l.all[a] == nil {
			l.all[a] = make(map[string]time.Time)
		}
		if _, ok := l.all[a][name]; !ok {
			if l.n >= maxLearned {
				return
			}
			l.n++
		}
		l.all[a][name] = until
	}
}

func (l *learnedNames) sweep() {
	now := time.Now()
	for a, names := range l.all {
		for name, until := range names {
			if now.After(until) {
				delete(names, name)
				l.n--
			}
		}
		if len(names) == 0 {
			delete(l.all, a)
		}
	}
}

// names returns the names that stand for the address now.
func (l *learnedNames) names(a netip.Addr) (names []string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, until := range l.all[a] {
		if now.Before(until) {
			names = append(names, name)
		}
	}
	return names
}

// learnUser opens the addresses of an answer to a sandbox in user mode.
func (b *Sandbox) learnUser(q dnsmessage.Question, answer []byte) {
	if addrs, ttl := addresses(q, answer); len(addrs) > 0 {
		b.learned.learn(nameOf(q), addrs, ttl)
	}
}

// closeLink ends an attachment's interface in user mode.
func (a *attachment) closeLink() error {
	if a.link == nil {
		return nil
	}
	err := a.link.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
