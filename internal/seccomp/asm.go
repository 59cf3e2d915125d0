package seccomp

import (
	"encoding/binary"
	"fmt"
)

// Offsets in struct seccomp_data (linux/seccomp.h). An argument's lower half comes first: the machines are all
// little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// Codes of the instructions that the filters consist of (linux/bpf_common.h).
const (
	opLoad        uint16 = 0x20 // BPF_LD | BPF_W | BPF_ABS
	opAnd         uint16 = 0x54 // BPF_ALU | BPF_AND | BPF_K
	opJump        uint16 = 0x05 // BPF_JMP | BPF_JA
	opJumpEqual   uint16 = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	opJumpGreater uint16 = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	opJumpAtLeast uint16 = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	opReturn      uint16 = 0x06 // BPF_RET | BPF_K
)

// reach is how far a conditional jump gets: its offsets have eight bits.
const reach = 255

type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// A label is the place of an instruction, counted from the end of the program.
type label int

// An assembler writes a program from its last instruction to its first: classic BPF jumps forward only, so that every
// target is known when a jump is written.
type assembler struct {
	backwards []instruction
	returns   map[verdict]label
	leaves    map[*leaf]label
	interned  map[string]*leaf
	plain     []*leaf // those without rules, of which there is one for each verdict
	key       []byte  // the last one of interned, whose memory is used again
}

func (a *assembler) emit(i instruction) label {
	a.backwards = append(a.backwards, i)
	return label(len(a.backwards) - 1)
}

// offset is the jump from the instruction that is written next.
func (a *assembler) offset(to label) int { return len(a.backwards) - int(to) - 1 }

// ret returns the place of an instruction that returns the verdict: one within reach, or a new one.
func (a *assembler) ret(v verdict) label {
	if l, ok := a.returns[v]; ok && a.offset(l) <= reach-2 {
		return l
	}
	if a.returns == nil {
		a.returns = map[verdict]label{}
	}
	a.returns[v] = a.emit(instruction{code: opReturn, k: uint32(v)})
	return a.returns[v]
}

// near returns a place within reach from which the program goes on at the label. room is how many instructions may
// still come before the jump.
func (a *assembler) near(l label, room int) label {
	if a.offset(l) <= reach-room {
		return l
	}
	return a.emit(instruction{code: opJump, k: uint32(a.offset(l))})
}

// branch compares the accumulator and goes on at one of two places.
func (a *assembler) branch(code uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes = a.near(yes, 1)
	no = a.near(no, 0)
	return a.emit(instruction{code: code, k: k, jt: uint8(a.offset(yes)), jf: uint8(a.offset(no))})
}

// load fills the accumulator and goes on at the label.
func (a *assembler) load(offset uint32, next label) label {
	a.follow(next)
	return a.emit(instruction{code: opLoad, k: offset})
}

// follow makes the instruction that is written next fall through to the label.
func (a *assembler) follow(next label) {
	if a.offset(next) != 0 {
		a.emit(instruction{code: opJump, k: uint32(a.offset(next))})
	}
}

// program returns what was written, the right way round.
func (a *assembler) program() (Filter, error) {
	if n := len(a.backwards); n > MaxInstructions {
		return nil, fmt.Errorf("%w: %d", ErrTooLong, n)
	}
	f := make(Filter, 0, len(a.backwards)*instructionSize)
	for i := len(a.backwards) - 1; i >= 0; i-- {
		ins := a.backwards[i]
		f = binary.LittleEndian.AppendUint16(f, ins.code)
		f = append(f, ins.jt, ins.jf)
		f = binary.LittleEndian.AppendUint32(f, ins.k)
	}
	return f, nil
}
