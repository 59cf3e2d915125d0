package network

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A view is what names a sandbox can look up: those of the networks that it is on.
type view struct {
	s        *Store
	networks []Network
	own      []Endpoint // the sandbox's, each on the network of the same index
	until    time.Time
}

// viewTime bounds how long a sandbox does not see that another process connected it to a network.
const viewTime = time.Second

// view returns the sandbox's view.
func (b *Sandbox) view() *view {
	b.viewMu.Lock()
	defer b.viewMu.Unlock()
	if b.seen != nil && time.Now().Before(b.seen.until) {
		return b.seen
	}
	v := &view{s: b.s, until: time.Now().Add(viewTime)}
	networks, _ := b.s.List() // those that can be read
	for _, n := range networks {
		x, err := b.s.index(n.Name)
		if err != nil {
			continue
		}
		if e := x.of(b.o.ID); e != nil {
			v.networks, v.own = append(v.networks, n), append(v.own, *e)
		}
	}
	b.seen = v
	return v
}

func (b *Sandbox) forgetView() {
	b.viewMu.Lock()
	b.seen = nil
	b.viewMu.Unlock()
}

// find returns the answers that the view has to a question, and whether it knows the name at all.
func (v *view) find(q dnsmessage.Question) (answers []dnsmessage.ResourceBody, known bool) {
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	if q.Class != dnsmessage.ClassINET || name == "" {
		return nil, false
	}
	if q.Type == dnsmessage.TypePTR {
		return v.reverse(name)
	}
	for _, e := range v.endpoints(name) {
		known = true
		if a := e.IPv4.Addr(); a.IsValid() && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL) {
			answers = append(answers, &dnsmessage.AResource{A: a.As4()})
		}
		if a := e.IPv6.Addr(); a.IsValid() && (q.Type == dnsmessage.TypeAAAA || q.Type == dnsmessage.TypeALL) {
			answers = append(answers, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	rand.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
	return answers, known
}

// maxAnswers bounds an answer to what fits into a datagram.
const maxAnswers = 16

// endpoints returns those of a name, or of name.network.
func (v *view) endpoints(name string) (all []*Endpoint) {
	for i, n := range v.networks {
		x, err := v.s.index(n.Name)
		if err != nil {
			continue
		}
		if to, ok := v.own[i].Links[name]; ok {
			all = append(all, x.named(to)...)
			continue
		}
		all = append(all, x.named(name)...)
		if short, ok := strings.CutSuffix(name, "."+strings.ToLower(n.Name)); ok {
			all = append(all, x.named(short)...)
		}
	}
	return all[:min(len(all), maxAnswers)]
}

func (x *index) named(name string) []*Endpoint {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.names[name]
}

// reverse finds the name of an address. Addresses of the networks' own subnets are nobody else's to tell.
func (v *view) reverse(name string) (answers []dnsmessage.ResourceBody, known bool) {
	a, ok := reverseAddr(name)
	if !ok {
		return nil, false
	}
	for _, n := range v.networks {
		for _, sub := range n.Subnets {
			known = known || sub.Prefix.Contains(a)
		}
		x, err := v.s.index(n.Name)
		if err != nil {
			continue
		}
		x.mu.RLock()
		e := x.addrs[a]
		x.mu.RUnlock()
		if e == nil || len(e.Names) == 0 {
			continue
		}
		if to, err := dnsmessage.NewName(e.Names[0] + "." + n.Name + "."); err == nil {
			return []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: to}}, true
		}
	}
	return nil, known
}

// reverseAddr reads the name of a question for an address's name.
func reverseAddr(name string) (netip.Addr, bool) {
	if text, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(text, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
		return a, err == nil
	}
	text, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(text) != 63 {
		return netip.Addr{}, false
	}
	var b strings.Builder
	for i := 62; i >= 0; i -= 2 {
		b.WriteByte(text[i])
		if i > 0 && text[i-1] != '.' {
			return netip.Addr{}, false
		}
		if i%8 == 0 && i > 0 {
			b.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(b.String())
	return a, err == nil
}

// servers returns the servers that questions are forwarded to.
func (b *Sandbox) servers() ([]netip.AddrPort, error) {
	if len(b.o.Servers) > 0 {
		return b.o.Servers, nil
	}
	text, err := readFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []netip.AddrPort
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && len(all) < 3 {
			all = append(all, netip.AddrPortFrom(a, 53))
		}
	}
	return all, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// lookup finds an address of a host's name as the sandbox sees it.
func (b *Sandbox) lookup(host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, nil
	}
	if host == "localhost" || host == "" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	if all := b.view().endpoints(strings.ToLower(host)); len(all) > 0 {
		if all[0].IPv4.IsValid() {
			return all[0].IPv4.Addr(), nil
		}
		return all[0].IPv6.Addr(), nil
	}
	return netip.Addr{}, &net.DNSError{Err: "no container of that name on the sandbox's networks", Name: host, IsNotFound: true}
}
