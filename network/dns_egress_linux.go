package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// limited tells whether an allow-list holds for the sandbox on one of its networks.
func (v *view) limited() bool {
	for _, e := range v.own {
		if len(e.Egress) > 0 {
			return true
		}
	}
	return false
}

// mayAsk tells whether a name may be asked for outside: by one of the networks that is not internal.
func (v *view) mayAsk(name string) bool {
	for i, e := range v.own {
		if !v.networks[i].Internal && e.Egress.AllowsName(name) {
			return true
		}
	}
	return false
}

// learn opens the addresses of an answer to the sandbox before it is passed on.
func (r *resolver) learn(v *view, q dnsmessage.Question, answer []byte) error {
	addrs, ttl := addresses(q, answer)
	if len(addrs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, dnsTimeout)
	defer cancel()
	c, err := r.b.s.lock(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	h, err := c.s.openHost()
	if err != nil {
		return err
	}
	name := nameOf(q)
	for i := range v.own {
		// Under the lock: an endpoint that is gone has given its address to another.
		x, err := c.s.index(v.own[i].Network)
		if err != nil {
			continue
		}
		e := x.of(r.b.o.ID)
		if e == nil || len(e.Egress) == 0 || !e.Egress.AllowsName(name) {
			continue
		}
		err = h.rules.learn(e, name, addrs, ttl)
		if errors.Is(err, unix.ENOENT) { // somebody flushed the tables
			if err = h.rules.change(c.s, nil); err == nil {
				err = h.rules.learn(e, name, addrs, ttl)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func nameOf(q dnsmessage.Question) string {
	return strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
}

// addresses returns the addresses that an answer has for the name that was asked for, by way of aliases too, and how long the
// answer holds.
func addresses(q dnsmessage.Question, answer []byte) (all []netip.Addr, ttl time.Duration) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess {
		return nil, 0
	}
	asked, err := p.Question()
	if err != nil || nameOf(asked) != nameOf(q) || asked.Class != dnsmessage.ClassINET || p.SkipAllQuestions() != nil {
		return nil, 0
	}
	names := map[string]bool{nameOf(q): true}
	least := uint32(1 << 31)
	for {
		rh, err := p.AnswerHeader()
		if err != nil {
			break
		}
		owner := strings.TrimSuffix(strings.ToLower(rh.Name.String()), ".")
		if !names[owner] || rh.Class != dnsmessage.ClassINET {
			if p.SkipAnswer() != nil {
				break
			}
			continue
		}
		switch rh.Type {
		case dnsmessage.TypeA:
			a, err := p.AResource()
			if err != nil {
				return all, time.Duration(least) * time.Second
			}
			all = append(all, netip.AddrFrom4(a.A))
		case dnsmessage.TypeAAAA:
			a, err := p.AAAAResource()
			if err != nil {
				return all, time.Duration(least) * time.Second
			}
			all = append(all, netip.AddrFrom16(a.AAAA))
		case dnsmessage.TypeCNAME:
			c, err := p.CNAMEResource()
			if err != nil {
				return all, time.Duration(least) * time.Second
			}
			names[strings.TrimSuffix(strings.ToLower(c.CNAME.String()), ".")] = true
		default:
			if p.SkipAnswer() != nil {
				return all, time.Duration(least) * time.Second
			}
			continue
		}
		least = min(least, rh.TTL)
	}
	return all, time.Duration(least) * time.Second
}
