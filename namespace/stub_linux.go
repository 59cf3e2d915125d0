package namespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// The stub is the executable of a new process until it executes the user's command: an ELF file whose text is the
// interpreter and whose data is a Program. It is written anew for each start, into a memory file.

// stubHeader is the stub's first page: the ELF header, room for the program headers, and the interpreter.
var stubHeader = sync.OnceValues(func() ([]byte, error) {
	code := stubCode()
	if code == nil {
		return nil, fmt.Errorf("start on linux/%s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	machine := uint16(62) // EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = 183 // EM_AARCH64
	}
	const entry = 0x200
	b := make([]byte, 4096)
	if copy(b[entry:], code) != len(code) {
		return nil, errors.New("start: the interpreter does not fit into its page")
	}
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2) // ET_EXEC
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], codeAddr+entry)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 3)
	le.PutUint16(b[58:], 64)
	programHeader(b, 0, segment{typ: 1, flags: 5, addr: codeAddr, fileSize: 4096, memSize: 4096})
	programHeader(b, 2, segment{typ: 0x6474e551, flags: 6}) // PT_GNU_STACK: not executable
	return b, nil
})

type segment struct {
	typ, flags                      uint32
	offset, addr, fileSize, memSize uint64
}

func programHeader(b []byte, i int, s segment) {
	h := b[64+56*i:]
	le := binary.LittleEndian
	le.PutUint32(h, s.typ)
	le.PutUint32(h[4:], s.flags)
	le.PutUint64(h[8:], s.offset)
	le.PutUint64(h[16:], s.addr)
	le.PutUint64(h[24:], s.addr)
	le.PutUint64(h[32:], s.fileSize)
	le.PutUint64(h[40:], s.memSize)
	le.PutUint64(h[48:], 0x10000)
}

// stubImage is the stub with p as its data.
func stubImage(p *Program) ([]byte, error) {
	header, err := stubHeader()
	if err != nil {
		return nil, err
	}
	p.image = append(p.image[:0], header...)
	size := p.writeSegment()
	programHeader(p.image, 1, segment{
		typ: 1, flags: 6, offset: uint64(len(header)), addr: contextAddr,
		fileSize: uint64(len(p.image) - len(header)), memSize: size,
	})
	return p.image, nil
}

// endMark is what the assembly has behind the interpreter's last instruction.
var endMark = []byte("\xde\xc0\xb0\x0b\xde\xc0\xb0\x0b\xde\xc0\xb0\x0b\xde\xc0\xb0\x0b")

// writeStub returns a descriptor from which the stub can be executed. dir is where it goes if memory files cannot be
// executed (vm.memfd_noexec, SELinux).
func writeStub(p *Program, dir string) (int, error) {
	image, err := stubImage(p)
	if err != nil {
		return -1, err
	}
	fd, err := writeStubMemory("init", image)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) {
		return writeStubFile(image, dir)
	}
	return fd, err
}

func writeStubMemory(name string, image []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC: Linux ≥ 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err := writeAll(fd, image); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("write", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// writeStubFile writes the stub into a nameless file of dir.
func writeStubFile(image []byte, dir string) (int, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	w, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o700)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(w)
	if err := writeAll(w, image); err != nil {
		return -1, &os.PathError{Op: "write", Path: dir, Err: err}
	}
	// A file that somebody may write to cannot be executed.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return fd, os.NewSyscallError("open", err)
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
