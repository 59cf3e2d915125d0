package cgroups

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An instruction of eBPF, as far as a device program needs them (Documentation/bpf/standardization).
type instruction struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
}

// The operations used, BPF class, size and mode or source combined.
const (
	opLoadWord = 0x61 // dst = *(u32 *)(src + off)
	opMove     = 0xbf // dst = src
	opMoveImm  = 0xb7 // dst = imm
	opAndImm   = 0x57 // dst &= imm
	opShiftImm = 0x77 // dst >>= imm
	opJumpEq   = 0x15 // if dst == imm, skip off
	opJumpNe   = 0x55
	opJumpSet  = 0x45 // if dst & imm
	opExit     = 0x95
)

// The registers used: the result, the context, and what is loaded from it.
const (
	regResult = iota
	regContext
	regType
	regAccess
	regMajor
	regMinor
)

// Types of devices in the context (BPF_DEVCG_DEV_*).
const (
	typeBlock = 1
	typeChar  = 2
)

// deviceProgramCode is the program for rules. Its context, struct bpf_cgroup_dev_ctx, tells the type and access asked
// for, and the device's numbers. The last rule about a kind of access decides on it: so the rules are gone through
// backwards, with the accesses that are not decided yet in a register.
func deviceProgramCode(rules []DeviceRule) []instruction {
	code := []instruction{
		{op: opLoadWord, dst: regType, src: regContext},
		{op: opMove, dst: regAccess, src: regType},
		{op: opShiftImm, dst: regAccess, imm: 16},
		{op: opAndImm, dst: regType, imm: 0xffff},
		{op: opLoadWord, dst: regMajor, src: regContext, off: 4},
		{op: opLoadWord, dst: regMinor, src: regContext, off: 8},
	}
	var toAllow, toDeny []int // jumps to be aimed at the end
	for i := len(rules) - 1; i >= 0; i-- {
		d := rules[i]
		if d.Type == 'a' {
			d.Access = ""
		}
		var skips []int
		skipUnless := func(reg uint8, imm int64) {
			skips = append(skips, len(code))
			code = append(code, instruction{op: opJumpNe, dst: reg, imm: int32(imm)})
		}
		switch d.Type {
		case 'b':
			skipUnless(regType, typeBlock)
		case 'c':
			skipUnless(regType, typeChar)
		}
		if d.Type != 'a' && d.Major != AnyDevice {
			skipUnless(regMajor, d.Major)
		}
		if d.Type != 'a' && d.Minor != AnyDevice {
			skipUnless(regMinor, d.Minor)
		}
		if d.Allow {
			code = append(code, instruction{op: opAndImm, dst: regAccess, imm: int32(^d.access() & accessAll)})
			toAllow = append(toAllow, len(code))
			code = append(code, instruction{op: opJumpEq, dst: regAccess})
		} else {
			toDeny = append(toDeny, len(code))
			code = append(code, instruction{op: opJumpSet, dst: regAccess, imm: int32(d.access())})
		}
		aim(code, skips, len(code))
		if d.Type == 'a' {
			break // no rule before it matters
		}
	}
	aim(code, toDeny, len(code))
	code = append(code, instruction{op: opMoveImm, dst: regResult}, instruction{op: opExit})
	if len(toAllow) == 0 {
		return code // the kernel takes no instructions that cannot be reached
	}
	aim(code, toAllow, len(code))
	return append(code, instruction{op: opMoveImm, dst: regResult, imm: 1}, instruction{op: opExit})
}

// aim sets the jumps at the given places to go to target.
func aim(code []instruction, jumps []int, target int) {
	for _, i := range jumps {
		code[i].off = int16(target - i - 1)
	}
}

// encode returns the instructions in the kernel's layout, struct bpf_insn, in the machine's byte order.
func encode(code []instruction) []byte {
	order := binary.NativeEndian
	little := order.Uint16([]byte{1, 0}) == 1
	b := make([]byte, 0, 8*len(code))
	for _, i := range code {
		regs := i.src<<4 | i.dst
		if !little {
			regs = i.dst<<4 | i.src
		}
		b = append(b, i.op, regs)
		b = order.AppendUint16(b, uint16(i.off))
		b = order.AppendUint32(b, uint32(i.imm))
	}
	return b
}

// expressible1 checks that the devices controller of v1 can do what rules say. It holds a default and exceptions, which
// a rule adds or takes away exactly: it cannot cut a piece out of a wider one.
func expressible1(rules []DeviceRule) error {
	allowed := false
	var exceptions []DeviceRule
	for _, d := range rules {
		if d.Type == 'a' {
			allowed, exceptions = d.Allow, nil
			continue
		}
		if d.Allow != allowed {
			exceptions = append(exceptions, d)
			continue
		}
		for _, e := range exceptions {
			same := e.Major == d.Major && e.Minor == d.Minor
			if e.Type == d.Type && !same && overlap(e.Major, d.Major) && overlap(e.Minor, d.Minor) &&
				e.access()&d.access() != 0 {
				return fmt.Errorf("%q is an exception from %q, which cgroup v1 cannot express: %w", d, e,
					errors.ErrUnsupported)
			}
		}
	}
	return nil
}

func overlap(a, b int64) bool { return a == b || a == AnyDevice || b == AnyDevice }
