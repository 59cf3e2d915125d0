package network

import (
	"encoding/binary"
	"net/netip"

	"github.com/caisson-engine/caisson/internal/bpf"
)

// What a port of a bridge may send is pinned to its endpoint's addresses by the chains of the bridge family (chains_linux.go). Most of what those
// cost is that their sets are looked up for each frame. So on Linux ≥ 6.6 a program of eBPF at the port, which knows the endpoint's addresses by
// heart, sees ordinary frames first: packets of IPv4, and of TCP and UDP over IPv6. One that is right gets a priority that no frame from a
// container has, and the chains' first rule asks for that. The program drops nothing; all other frames are for the chains, as all are where it cannot be loaded.
// It goes with the port.
//
// It could not be all of the pins. A container that has CAP_NET_ADMIN over its network namespace can have frames come past the
// traffic control at the host's end of the pair: those that an ifb device sent once are not classified again.

// pinnedPriority is the priority of a frame that the program has let pass. A pair of interfaces sets a frame's priority to 0, whatever it was.
// To queues it says the same as 0: they go by its last four bits, or by a class of theirs with the number 0xca15.
const pinnedPriority = 0xca150000

// Of struct __sk_buff.
const (
	skbProtocol = 16
	skbPriority = 32
	skbData     = 76
	skbDataEnd  = 80
)

// Offsets in a frame, and in an IP header behind its own.
const (
	frameSource = 6
	frameHeader = 14
	source4     = frameHeader + 12
	length4     = frameHeader + 20
	next6       = frameHeader + 6
	source6     = frameHeader + 8
	length6     = frameHeader + 40
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	pinPass   = -1 // TC_ACT_UNSPEC: others' programs may come after this one
)

// Registers.
const (
	regResult = iota
	regSkb
	regData
	regEnd
	regPart
	regProtocol
)

// pinProgram is the program for an endpoint.
func pinProgram(e *Endpoint) []bpf.Instruction {
	code := []bpf.Instruction{
		{Op: bpf.LoadWord, Dst: regData, Src: regSkb, Off: skbData},
		{Op: bpf.LoadWord, Dst: regEnd, Src: regSkb, Off: skbDataEnd},
		{Op: bpf.LoadWord, Dst: regProtocol, Src: regSkb, Off: skbProtocol},
	}
	var right []int // jumps to where a frame gets its priority
	for _, family := range []struct {
		addr         netip.Addr
		protocol     uint16
		length       int32
		source, next int16
		carries      []int32 // nil: anything
	}{
		{e.IPv4.Addr(), etherIPv4, length4, source4, 0, nil},
		{e.IPv6.Addr(), etherIPv6, length6, source6, next6, []int32{protoTCP, protoUDP}},
	} {
		if !family.addr.IsValid() {
			continue
		}
		var others []int // jumps to what is after this family
		unless := func(i bpf.Instruction) {
			others = append(others, len(code))
			code = append(code, i)
		}
		equals := func(at int16, data []byte) {
			for len(data) > 0 {
				i := bpf.Instruction{Op: bpf.LoadHalf, Dst: regPart, Src: regData, Off: at}
				value, size := int32(binary.NativeEndian.Uint16(data)), 2
				if len(data) >= 4 {
					i.Op, value, size = bpf.LoadWord, int32(binary.NativeEndian.Uint32(data)), 4
				}
				code = append(code, i)
				unless(bpf.Instruction{Op: bpf.JumpNe32, Dst: regPart, Imm: value})
				at, data = at+int16(size), data[size:]
			}
		}
		unless(bpf.Instruction{Op: bpf.JumpNe, Dst: regProtocol, Imm: int32(binary.NativeEndian.Uint16(port16(family.protocol)))})
		code = append(code, bpf.Instruction{Op: bpf.Move, Dst: regPart, Src: regData},
			bpf.Instruction{Op: bpf.AddImm, Dst: regPart, Imm: family.length})
		unless(bpf.Instruction{Op: bpf.JumpGt, Dst: regPart, Src: regEnd}) // the header is not all in the frame's first memory
		equals(family.source, family.addr.AsSlice())
		equals(frameSource, e.mac())
		if family.carries == nil {
			right = append(right, len(code))
			code = append(code, bpf.Instruction{Op: bpf.Jump})
		} else {
			code = append(code, bpf.Instruction{Op: bpf.LoadByte, Dst: regPart, Src: regData, Off: family.next})
		}
		for _, protocol := range family.carries {
			right = append(right, len(code))
			code = append(code, bpf.Instruction{Op: bpf.JumpEq, Dst: regPart, Imm: protocol})
		}
		bpf.Aim(code, others, len(code))
	}
	code = append(code, bpf.Instruction{Op: bpf.MoveImm, Dst: regResult, Imm: pinPass}, bpf.Instruction{Op: bpf.Exit})
	bpf.Aim(code, right, len(code))
	priority := uint32(pinnedPriority)
	return append(code, bpf.Instruction{Op: bpf.MoveImm, Dst: regPart, Imm: int32(priority)},
		bpf.Instruction{Op: bpf.StoreWord, Dst: regSkb, Src: regPart, Off: skbPriority},
		bpf.Instruction{Op: bpf.MoveImm, Dst: regResult, Imm: pinPass}, bpf.Instruction{Op: bpf.Exit})
}
