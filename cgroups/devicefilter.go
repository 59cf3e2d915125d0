package cgroups

import (
	"errors"
	"fmt"

	"github.com/caisson-engine/caisson/internal/bpf"
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
func deviceProgramCode(rules []DeviceRule) []bpf.Instruction {
	code := []bpf.Instruction{
		{Op: bpf.LoadWord, Dst: regType, Src: regContext},
		{Op: bpf.Move, Dst: regAccess, Src: regType},
		{Op: bpf.ShiftR, Dst: regAccess, Imm: 16},
		{Op: bpf.AndImm, Dst: regType, Imm: 0xffff},
		{Op: bpf.LoadWord, Dst: regMajor, Src: regContext, Off: 4},
		{Op: bpf.LoadWord, Dst: regMinor, Src: regContext, Off: 8},
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
			code = append(code, bpf.Instruction{Op: bpf.JumpNe, Dst: reg, Imm: int32(imm)})
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
			code = append(code, bpf.Instruction{Op: bpf.AndImm, Dst: regAccess, Imm: int32(^d.access() & accessAll)})
			toAllow = append(toAllow, len(code))
			code = append(code, bpf.Instruction{Op: bpf.JumpEq, Dst: regAccess})
		} else {
			toDeny = append(toDeny, len(code))
			code = append(code, bpf.Instruction{Op: bpf.JumpSet, Dst: regAccess, Imm: int32(d.access())})
		}
		bpf.Aim(code, skips, len(code))
		if d.Type == 'a' {
			break // no rule before it matters
		}
	}
	bpf.Aim(code, toDeny, len(code))
	code = append(code, bpf.Instruction{Op: bpf.MoveImm, Dst: regResult}, bpf.Instruction{Op: bpf.Exit})
	if len(toAllow) == 0 {
		return code // the kernel takes no instructions that cannot be reached
	}
	bpf.Aim(code, toAllow, len(code))
	return append(code, bpf.Instruction{Op: bpf.MoveImm, Dst: regResult, Imm: 1}, bpf.Instruction{Op: bpf.Exit})
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
