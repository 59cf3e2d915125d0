// Package bpf has small programs for the kernel's eBPF machine: their instructions, and the calls that load and attach them. There is no
// compiler: a program is written instruction by instruction by whoever needs it. The calls need Linux ≥ 5.1.
package bpf

import "encoding/binary"

// An Instruction of eBPF (Documentation/bpf/standardization/instruction-set.rst).
type Instruction struct {
	Op       uint8
	Dst, Src uint8
	Off      int16
	Imm      int32
}

// The operations that our programs use: class, size and mode or source combined. Jumps skip Off instructions.
const (
	LoadWord = 0x61 // dst = *(u32 *)(src + off)
	Move     = 0xbf // dst = src
	MoveImm  = 0xb7 // dst = imm
	AndImm   = 0x57 // dst &= imm
	ShiftR   = 0x77 // dst >>= imm
	JumpEq   = 0x15 // if dst == imm
	JumpNe   = 0x55
	JumpSet  = 0x45 // if dst & imm
	Exit     = 0x95 // return r0
)

// Aim sets the jumps at the given places to go to target.
func Aim(code []Instruction, jumps []int, target int) {
	for _, i := range jumps {
		code[i].Off = int16(target - i - 1)
	}
}

// Encode returns the instructions in the kernel's layout, struct bpf_insn, in the machine's byte order.
func Encode(code []Instruction) []byte {
	order := binary.NativeEndian
	little := order.Uint16([]byte{1, 0}) == 1
	b := make([]byte, 0, 8*len(code))
	for _, i := range code {
		regs := i.Src<<4 | i.Dst
		if !little {
			regs = i.Dst<<4 | i.Src
		}
		b = append(b, i.Op, regs)
		b = order.AppendUint16(b, uint16(i.Off))
		b = order.AppendUint32(b, uint32(i.Imm))
	}
	return b
}
