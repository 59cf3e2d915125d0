package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

const (
	dnsTimeout  = 3 * time.Second // of one server's answer
	dnsQueries  = 256             // of one sandbox at a time
	dnsConns    = 32              // of one sandbox by tcp
	dnsIdle     = 10 * time.Second
	maxDatagram = 64 << 10
	maxQuestion = 4 << 10 // of a datagram: a name is 255 bytes at most
)

// dnsAddr is where a sandbox finds its resolver, by port 53.
var dnsAddr = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// A resolver answers a sandbox's questions for names. It listens inside the sandbox, on ports that were free, and port 53 of
// 127.0.0.11 is written over with them there, so that the container may use port 53 for itself.
type resolver struct {
	b      *Sandbox
	packet net.PacketConn
	stream net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	group  sync.WaitGroup

	serving bool // it answers; under the sandbox's mu

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when it is closed
}

// serveNames starts the sandbox's resolver, once.
func (b *Sandbox) serveNames() error {
	if b.o.NoResolver || b.resolver != nil && b.resolver.serving {
		return nil
	}
	if b.resolver == nil {
		if err := inside(b.ns, b.listen); err != nil {
			return err
		}
	}
	r := b.resolver
	r.serving = true
	r.group.Go(r.packets)
	r.group.Go(r.streams)
	return nil
}

// listen makes the sandbox's resolver, once, which does not answer yet. The calling thread is in the sandbox.
func (b *Sandbox) listen() (err error) {
	if b.o.NoResolver || b.resolver != nil {
		return nil
	}
	r := &resolver{b: b, slots: make(chan struct{}, dnsQueries), conns: make(map[net.Conn]bool)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			r.close()
			err = fmt.Errorf("resolver: %w", err)
		}
	}()
	if err := loopbackUp(); err != nil { // the container's launch does it too, about now
		return err
	}
	at := netip.AddrPortFrom(dnsAddr, 0).String()
	r.packet, err = net.ListenPacket("udp4", at)
	if errors.Is(err, unix.EADDRNOTAVAIL) { // the kernel says that lo is up before it has given it its address
		if err = loopbackAddress(); err == nil {
			r.packet, err = net.ListenPacket("udp4", at)
		}
	}
	if err != nil {
		return err
	}
	if r.stream, err = net.Listen("tcp4", at); err != nil {
		return err
	}
	if err := r.redirect(); err != nil {
		return err
	}
	b.resolver = r
	return nil
}

// silence closes a resolver that answered nobody yet.
func (b *Sandbox) silence() {
	if b.resolver != nil && !b.resolver.serving {
		b.resolver.close()
		b.resolver = nil
	}
}

func loopbackUp() error {
	fd, err := openRoute()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if up, err := interfaceUp(fd, "lo"); up || err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// loopbackAddress waits until the kernel is done with setting lo up, and sees to it that lo has the address that the kernel gives it.
func loopbackAddress() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.AddrReplace(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("127.0.0.1/8")), Scope: unix.RT_SCOPE_HOST})
	}
	if err != nil {
		return fmt.Errorf("give lo its address: %w", err)
	}
	return nil
}

func (r *resolver) close() {
	r.cancel()
	if r.packet != nil {
		_ = r.packet.Close()
	}
	if r.stream != nil {
		_ = r.stream.Close()
	}
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.group.Wait()
}

// packets answers datagrams.
func (r *resolver) packets() {
	b := make([]byte, maxQuestion)
	for {
		n, from, err := r.packet.ReadFrom(b)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		query := append([]byte(nil), b[:n]...)
		select {
		case r.slots <- struct{}{}:
		default:
			continue // too many: it will ask again
		}
		r.group.Go(func() {
			defer func() { <-r.slots }()
			if answer := r.answer(query, "udp"); answer != nil {
				_, _ = r.packet.WriteTo(answer, from)
			}
		})
	}
}

// streams answers what comes by tcp: messages with their length before them.
func (r *resolver) streams() {
	for {
		c, err := r.stream.Accept()
		if r.ctx.Err() != nil {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		r.mu.Lock()
		full := r.conns == nil || len(r.conns) >= dnsConns
		if !full {
			r.conns[c] = true
		}
		r.mu.Unlock()
		if full {
			_ = c.Close()
			continue
		}
		r.group.Go(func() {
			r.stream1(c)
			r.mu.Lock()
			delete(r.conns, c)
			r.mu.Unlock()
			_ = c.Close()
		})
	}
}

func (r *resolver) stream1(c net.Conn) {
	for {
		_ = c.SetDeadline(time.Now().Add(dnsIdle))
		query, err := readMessage(c)
		if err != nil {
			return
		}
		answer := r.answer(query, "tcp")
		if answer == nil || writeMessage(c, answer) != nil {
			return
		}
	}
}

func readMessage(c io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

func writeMessage(c io.Writer, message []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}

// answer returns the answer to a query, or nil if it is none.
func (r *resolver) answer(query []byte, network string) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return reply(h, nil, dnsmessage.RCodeFormatError, nil)
	}
	if h.OpCode != 0 {
		return reply(h, &q, dnsmessage.RCodeNotImplemented, nil)
	}
	v := r.b.view()
	found, known := v.find(q)
	switch {
	case known && found == nil && q.Type == dnsmessage.TypePTR:
		return reply(h, &q, dnsmessage.RCodeNameError, nil)
	case known:
		return reply(h, &q, dnsmessage.RCodeSuccess, found)
	}
	// Not even the question leaves an internal network, or is asked for a name that no allow-list has.
	limited, may := v.limited(), v.mayAsk(nameOf(q))
	if limited {
		r.b.audit(Attempt{Protocol: "dns", Name: nameOf(q), Allowed: may})
	}
	if !may {
		return reply(h, &q, dnsmessage.RCodeRefused, nil)
	}
	answer, err := r.forward(query, h.ID, network)
	if err == nil && limited {
		if r.b.s.o.UserMode != nil {
			r.b.learnUser(q, answer)
		} else {
			err = r.learn(v, q, answer)
		}
	}
	if err != nil {
		return reply(h, &q, dnsmessage.RCodeServerFailure, nil)
	}
	return answer
}

// ttl of our own answers in seconds: a container's address is another's soon after.
const ttl = 10

func reply(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, answers []dnsmessage.ResourceBody) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
		Authoritative: code == dnsmessage.RCodeSuccess,
	})
	b.EnableCompression()
	err := b.StartQuestions()
	if q != nil {
		err = errors.Join(err, b.Question(*q))
	}
	err = errors.Join(err, b.StartAnswers())
	for _, a := range answers {
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}
		switch a := a.(type) {
		case *dnsmessage.AResource:
			err = errors.Join(err, b.AResource(rh, *a))
		case *dnsmessage.AAAAResource:
			err = errors.Join(err, b.AAAAResource(rh, *a))
		case *dnsmessage.PTRResource:
			err = errors.Join(err, b.PTRResource(rh, *a))
		}
	}
	out, e := b.Finish()
	if errors.Join(err, e) != nil {
		return nil
	}
	return out
}

// forward asks the servers, one after the other, from the host.
func (r *resolver) forward(query []byte, id uint16, network string) ([]byte, error) {
	servers, err := r.b.servers()
	if err != nil {
		return nil, err
	}
	err = errors.New("there is no server")
	for _, server := range servers {
		var answer []byte
		if answer, err = r.exchange(query, id, network, server); err == nil {
			return answer, nil
		}
	}
	return nil, err
}

func (r *resolver) exchange(query []byte, id uint16, network string, server netip.AddrPort) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.ctx, dnsTimeout)
	defer cancel()
	c, err := r.b.s.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	if network == "tcp" {
		if err := writeMessage(c, query); err != nil {
			return nil, err
		}
		return readMessage(c)
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, maxDatagram)
	for {
		n, err := c.Read(b)
		if err != nil {
			return nil, err
		}
		var p dnsmessage.Parser
		if h, err := p.Start(b[:n]); err == nil && h.ID == id && h.Response {
			return b[:n], nil
		}
	}
}
