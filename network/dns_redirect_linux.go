package network

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// redirect has what is sent to port 53 in the calling thread's namespace, the sandbox's, come to the resolver's sockets.
func (r *resolver) redirect() error {
	fd, err := openNetfilter()
	if err != nil {
		return fmt.Errorf("redirect port 53: %w", err)
	}
	defer unix.Close(fd)
	err = r.rewrite(fd, false)
	if err != nil { // what is there has the table's name
		err = r.rewrite(fd, true)
	}
	if err != nil {
		return fmt.Errorf("redirect port 53: %w", explain(err, "nf_tables"))
	}
	return nil
}

// Ports that stand for the sockets' in what is encoded once.
const anyUDP, anyTCP = 1, 2

var redirection = sync.OnceValues(func() (transaction, error) {
	return encode(func(c *nftables.Conn) error { writeRedirection(c, false); return nil })
})

// rewrite makes the table, in place of an earlier resolver's. To delete a table that is not there yet has the socket's end
// wait for all processors, which takes several times as long as everything else about an attachment.
func (r *resolver) rewrite(fd int, anew bool) error {
	t, err := redirection()
	if anew {
		t, err = encode(func(c *nftables.Conn) error { writeRedirection(c, true); return nil })
	}
	if err != nil {
		return err
	}
	udp := r.packet.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	tcp := r.stream.Addr().(*net.TCPAddr).AddrPort().Port()
	t = bytes.ReplaceAll(t, portAttribute(anyUDP), portAttribute(udp))
	return transaction(bytes.ReplaceAll(t, portAttribute(anyTCP), portAttribute(tcp))).commit(fd)
}

// portAttribute is a port among the bytes of a transaction.
func portAttribute(port uint16) []byte {
	b := binary.NativeEndian.AppendUint16(nil, unix.SizeofNlAttr+2)
	b = binary.NativeEndian.AppendUint16(b, unix.NFTA_DATA_VALUE)
	return append(append(b, port16(port)...), 0, 0)
}

// writeRedirection writes the ports into the packets. To translate them would have the kernel track all of the sandbox's connections, which
// costs a sixth of the processors' time that a transfer takes. What the sandbox itself tracks sees the sockets' ports: the questions'
// are written before that, the answers' after it.
func writeRedirection(conn *nftables.Conn, anew bool) {
	t := &nftables.Table{Name: "caisson-dns", Family: nftables.TableFamilyIPv4}
	if anew {
		conn.AddTable(t)
		conn.DelTable(t)
	}
	conn.CreateTable(t)
	chain := func(name string, priority nftables.ChainPriority) *nftables.Chain {
		policy := nftables.ChainPolicyAccept
		return conn.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: &priority,
			Policy: &policy,
		})
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
	for _, l4 := range []struct {
		proto    byte
		checksum uint32 // where in its header
		port     uint16
	}{{unix.IPPROTO_UDP, 6, anyUDP}, {unix.IPPROTO_TCP, 16, anyTCP}} {
		own, is := port16(l4.port), meta(expr.MetaKeyL4PROTO, l4.proto)
		if l4.proto == unix.IPPROTO_UDP { // without a checksum
			add(questions, is, dport.equals(dns), transport(l4.checksum, 2).equals([]byte{0, 0}), write(dport, own, 0))
		}
		add(questions, is, dport.equals(dns), write(dport, own, l4.checksum))
		add(answers, is, sport.equals(own), write(sport, dns, l4.checksum))
	}
	// When nobody listens, who sent a datagram hears of it: it is in the message of ICMP, behind its own and the IP header.
	inside := transport(icmpHeader+ipHeader+2, 2)
	add(answers, meta(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMP), transport(0, 1).equals([]byte{icmpUnreachable}),
		transport(icmpHeader+9, 1).equals([]byte{unix.IPPROTO_UDP}), inside.equals(port16(anyUDP)), write(inside, dns, 2))
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
