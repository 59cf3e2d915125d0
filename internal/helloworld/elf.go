package helloworld

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	loadAddress = 0x400000
	pageSize    = 0x10000 // the largest page size of arm64 kernels; smaller ones divide it
	headersSize = 64 + 2*56
)

// Program returns a static ELF executable that writes text to its standard output and exits with 0, or with 1 when a
// write fails. arch is amd64 or arm64; another gives an error that satisfies errors.Is(err, errors.ErrUnsupported).
func Program(arch, text string) ([]byte, error) {
	var (
		code    []byte
		machine elf.Machine
	)
	switch arch {
	case "amd64":
		code, machine = amd64(len(text)), elf.EM_X86_64
	case "arm64":
		code, machine = arm64(len(text)), elf.EM_AARCH64
	default:
		return nil, fmt.Errorf("hello-world for %s: %w", arch, errors.ErrUnsupported)
	}
	if len(text) == 0 || len(text) > 0xffff {
		return nil, fmt.Errorf("hello-world: a text of %d bytes, want 1 to 65535", len(text))
	}
	size := uint64(headersSize + len(code) + len(text))
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: loadAddress + headersSize, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	load := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: loadAddress, Paddr: loadAddress, Filesz: size, Memsz: size, Align: pageSize,
	}
	stack := elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16}

	var b bytes.Buffer
	for _, v := range []any{&header, &load, &stack, code, []byte(text)} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, fmt.Errorf("hello-world: %w", err)
		}
	}
	return b.Bytes(), nil
}
