package helloworld

import "encoding/binary"

const (
	arm64EQ = 0
	arm64NE = 1
	arm64LE = 13
)

func (c *code) word(w uint32) { c.bytes = binary.LittleEndian.AppendUint32(c.bytes, w) }

// move emits movz xRegister, #value.
func (c *code) move(register uint32, value int) {
	c.word(0xd2800000 | uint32(uint16(value))<<5 | register)
}

// branch emits a branch whose offset, counted in instructions, sits at bit shift.
func (c *code) branch(op, shift, mask uint32, label string) {
	c.word(op)
	c.refer(label, 4, func(b []byte, distance int) {
		w := binary.LittleEndian.Uint32(b)
		binary.LittleEndian.PutUint32(b, w|uint32(int32(distance/4))&mask<<shift)
	})
}

func (c *code) branchIf(condition uint32, label string) {
	c.branch(0x54000000|condition, 5, 1<<19-1, label)
}

// arm64 returns the program that writes the n bytes behind it, for AArch64.
func arm64(n int) []byte {
	var c code
	c.word(0x10000001) // adr x1, text
	c.refer("text", 4, func(b []byte, distance int) {
		d := uint32(int32(distance))
		w := binary.LittleEndian.Uint32(b)
		binary.LittleEndian.PutUint32(b, w|d&3<<29|d>>2&(1<<19-1)<<5)
	})
	c.move(2, n) // mov x2, n
	c.label("loop")
	c.move(0, 1)       // mov x0, 1
	c.move(8, 64)      // mov x8, SYS_write
	c.word(0xd4000001) // svc 0
	c.word(0xb100101f) // cmn x0, EINTR
	c.branchIf(arm64EQ, "loop")
	c.word(0xf100001f) // cmp x0, 0
	c.branchIf(arm64LE, "fail")
	c.word(0x8b000021) // add x1, x1, x0
	c.word(0xeb000042) // subs x2, x2, x0
	c.branchIf(arm64NE, "loop")
	c.move(0, 0) // mov x0, 0
	c.branch(0x14000000, 0, 1<<26-1, "exit")
	c.label("fail")
	c.move(0, 1) // mov x0, 1
	c.label("exit")
	c.move(8, 94)      // mov x8, SYS_exit_group
	c.word(0xd4000001) // svc 0
	c.label("text")
	return c.link()
}
