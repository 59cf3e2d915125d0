package network

import (
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// redirect has what is sent to port 53 in the calling thread's namespace, the sandbox's, come to the resolver's sockets.
func (r *resolver) redirect() error {
	err := r.rewrite(false)
	if err != nil { // what is there has the table's name
		err = r.rewrite(true)
	}
	if err != nil {
		return fmt.Errorf("redirect port 53: %w", explain(err, "nf_tables"))
	}
	return nil
}

// rewrite makes the table, in place of an earlier resolver's. To delete a table that is not there yet has the socket's end
// wait for all processors, which takes several times as long as everything else about an attachment.
//
// The ports are written into the packets. To translate them would have the kernel track all of the sandbox's connections, which
// costs a sixth of the processors' time that a transfer takes. What the sandbox itself tracks sees the sockets' ports: the questions'
// are written before that, the answers' after it.
func (r *resolver) rewrite(anew bool) error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	t := &nftables.Table{Name: "caisson-dns", Family: nftables.TableFamilyIPv4}
	conn.AddTable(t)
	if anew {
		conn.DelTable(t)
		conn.AddTable(t)
	}
	chain := func(name string, priority nftables.ChainPriority) *nftables.Chain {
		policy := nftables.ChainPolicyAccept
		c := conn.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: &priority,
			Policy: &policy,
		})
		conn.FlushChain(c)
		return c
	}
	add := func(c *nftables.Chain, parts ...[]expr.Any) {
		conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: rule(parts...)})
	}
	questions, answers := chain("questions", *nftables.ChainPriorityRaw), chain("answers", *nftables.ChainPriorityLast)
	// Other packets see one rule.
	elsewhere := func(f field) []expr.Any {
		others := f.equals(dnsAddr.AsSlice())
		others[1].(*expr.Cmp).Op = expr.CmpOpNeq
		return append(others, verdict(expr.VerdictAccept, "")...)
	}
	add(questions, elsewhere(daddr4))
	add(answers, elsewhere(saddr4))
	dns, sport := port16(53), transport(0, 2)
	_, udp, _ := net.SplitHostPort(r.packet.LocalAddr().String())
	_, tcp, _ := net.SplitHostPort(r.stream.Addr().String())
	for _, l4 := range []struct {
		proto    byte
		checksum uint32 // where in its header
		port     string
	}{{unix.IPPROTO_UDP, 6, udp}, {unix.IPPROTO_TCP, 16, tcp}} {
		n, _ := parsePort(l4.port)
		own, is := port16(n), meta(expr.MetaKeyL4PROTO, l4.proto)
		if l4.proto == unix.IPPROTO_UDP { // without a checksum
			add(questions, is, dport.equals(dns), transport(l4.checksum, 2).equals([]byte{0, 0}), write(dport, own, 0))
		}
		add(questions, is, dport.equals(dns), write(dport, own, l4.checksum))
		add(answers, is, sport.equals(own), write(sport, dns, l4.checksum))
	}
	// When nobody listens, who sent a datagram hears of it: it is in the message of ICMP, behind its own and the IP header.
	n, _ := parsePort(udp)
	inside := transport(icmpHeader+ipHeader+2, 2)
	add(answers, meta(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMP), transport(0, 1).equals([]byte{icmpUnreachable}),
		transport(icmpHeader+9, 1).equals([]byte{unix.IPPROTO_UDP}), inside.equals(port16(n)), write(inside, dns, 2))
	return conn.Flush()
}

const (
	icmpUnreachable      = 3
	icmpHeader, ipHeader = 8, 20
)

// transport is a part of the header of TCP, UDP or ICMP, or of what follows it.
func transport(offset, size uint32) field {
	return field{base: expr.PayloadBaseTransportHeader, offset: offset, size: size}
}

// write writes over a part of a packet, with the checksum that is there in the transport header; 0 is none.
func write(f field, data []byte, checksum uint32) []expr.Any {
	p := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: f.base, Offset: f.offset, Len: f.size}
	if checksum != 0 {
		p.CsumType, p.CsumOffset = expr.CsumTypeInet, checksum
	}
	return []expr.Any{&expr.Immediate{Register: 1, Data: data}, p}
}
