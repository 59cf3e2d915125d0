package helloworld

import "encoding/binary"

const (
	amd64JE  = 0x74
	amd64JNE = 0x75
	amd64JLE = 0x7e
	amd64JMP = 0xeb
)

// jump emits a two-byte branch.
func (c *code) jump(op byte, label string) {
	c.emit(op, 0)
	c.refer(label, 1, func(b []byte, distance int) { b[0] = byte(int8(distance - 1)) })
}

// amd64 returns the program that writes the n bytes behind it, for x86-64.
func amd64(n int) []byte {
	var c code
	imm := func(op byte, v int) { c.emit(binary.LittleEndian.AppendUint32([]byte{op}, uint32(v))...) }

	c.emit(0x48, 0x8d, 0x35, 0, 0, 0, 0) // lea rsi, [rip+text]
	c.refer("text", 4, func(b []byte, distance int) {
		binary.LittleEndian.PutUint32(b, uint32(int32(distance-4)))
	})
	imm(0xba, n) // mov edx, n
	c.label("loop")
	imm(0xb8, 1)                   // mov eax, SYS_write
	imm(0xbf, 1)                   // mov edi, 1
	c.emit(0x0f, 0x05)             // syscall
	c.emit(0x48, 0x83, 0xf8, 0xfc) // cmp rax, -EINTR
	c.jump(amd64JE, "loop")
	c.emit(0x48, 0x85, 0xc0) // test rax, rax
	c.jump(amd64JLE, "fail")
	c.emit(0x48, 0x01, 0xc6) // add rsi, rax
	c.emit(0x48, 0x29, 0xc2) // sub rdx, rax
	c.jump(amd64JNE, "loop")
	c.emit(0x31, 0xff) // xor edi, edi
	c.jump(amd64JMP, "exit")
	c.label("fail")
	imm(0xbf, 1) // mov edi, 1
	c.label("exit")
	imm(0xb8, 231)     // mov eax, SYS_exit_group
	c.emit(0x0f, 0x05) // syscall
	c.label("text")
	return c.link()
}
