package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
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
	for _, w := range []redirection{{}, {anew: true}, {output: true}, {anew: true, output: true}} {
		if err = r.rewrite(fd, w); err == nil {
			return nil
		}
	}
	return fmt.Errorf("redirect port 53: %w", explain(err, "nf_tables"))
}

// A redirection is a way to do it. To delete a table that is not there yet has the socket's end wait for all processors, which takes several
// times as long as everything else about an attachment: so that is done only where something has the tables' name.
type redirection struct {
	anew   bool // in place of an earlier resolver's
	output bool // without a chain of the loopback interface's own, which a kernel may lack (CONFIG_NF_TABLES_NETDEV)
}

// Ports that stand for the sockets' in what is encoded once.
const anyUDP, anyTCP = 1, 2

var usual = sync.OnceValues(redirection{}.encode)

func (w redirection) encode() (transaction, error) {
	return encode(func(c *nftables.Conn) error { w.write(c); return nil })
}

func (r *resolver) rewrite(fd int, w redirection) error {
	get := w.encode
	if w == (redirection{}) {
		get = usual
	}
	t, err := get()
	if err != nil {
		return err
	}
	udp := r.packet.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	tcp := r.stream.Addr().(*net.TCPAddr).AddrPort().Port()
	return t.withPorts(udp, tcp).commit(fd)
}

// withPorts has the ports in place of those that stand for them, which they may be themselves.
func (t transaction) withPorts(udp, tcp uint16) transaction {
	r := strings.NewReplacer(portAttribute(anyUDP), portAttribute(udp), portAttribute(anyTCP), portAttribute(tcp))
	return transaction(r.Replace(string(t)))
}

// portAttribute is a port among the bytes of a transaction.
func portAttribute(port uint16) string {
	b := binary.NativeEndian.AppendUint16(nil, unix.SizeofNlAttr+2)
	b = binary.NativeEndian.AppendUint16(b, unix.NFTA_DATA_VALUE)
	return string(append(append(b, port16(port)...), 0, 0))
}

// write writes the ports into the packets. To translate them would have the kernel track all of the sandbox's connections, which
// costs a sixth of the processors' time that a transfer takes. Questions are written where they arrive, at the loopback interface, which
// costs the sandbox's other packets nothing; answers where they leave, before the sandbox's own rules: so those, and what the sandbox
// itself tracks, see port 53 both ways.
//
// Where the interface can have no chain questions are written where they leave, and answers after all rules: the sockets' ports are seen then.
func (w redirection) write(conn *nftables.Conn) {
	ip := &nftables.Table{Name: "caisson-dns", Family: nftables.TableFamilyIPv4}
	netdev := &nftables.Table{Name: ip.Name, Family: nftables.TableFamilyNetdev}
	policy := nftables.ChainPolicyAccept
	chain := func(t *nftables.Table, name string, hook *nftables.ChainHook, priority *nftables.ChainPriority, device string) *nftables.Chain {
		return conn.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority, Policy: &policy, Device: device,
		})
	}
	add := func(c *nftables.Chain, parts ...[]expr.Any) {
		conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: rule(parts...)})
	}
	tables := []*nftables.Table{ip, netdev}
	if w.output {
		tables = tables[:1]
	}
	for _, t := range tables {
		if w.anew {
			conn.AddTable(t)
			conn.DelTable(t)
		}
		conn.CreateTable(t)
	}
	var questions, answers *nftables.Chain
	if w.output {
		questions = chain(ip, "questions", nftables.ChainHookOutput, nftables.ChainPriorityRaw, "")
		answers = chain(ip, "answers", nftables.ChainHookOutput, nftables.ChainPriorityLast, "")
	} else {
		questions = chain(netdev, "questions", nftables.ChainHookIngress, nftables.ChainPriorityFilter, "lo")
		answers = chain(ip, "answers", nftables.ChainHookOutput, nftables.ChainPriorityRaw, "")
		add(questions, protocolIsNot(unix.ETH_P_IP), verdict(expr.VerdictAccept, ""))
	}
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

func protocolIsNot(p uint16) []expr.Any {
	others := protocol(p)
	others[1].(*expr.Cmp).Op = expr.CmpOpNeq
	return others
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
