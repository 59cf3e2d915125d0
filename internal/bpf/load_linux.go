package bpf

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of bpf(2) (linux/bpf.h).
const (
	cmdLoad    = 5
	CmdAttach  = 8
	CmdDetach  = 9
	CmdGetByID = 13
	CmdGetInfo = 15
	CmdQuery   = 16
)

// TypeDevice is a control group's program about devices (BPF_PROG_TYPE_CGROUP_DEVICE).
const TypeDevice = 15

// A Program is what Load loads.
type Program struct {
	Type       uint32
	AttachType uint32 // where the type has several; else 0
	Name       string // at most 15 letters, digits and underscores
	Code       []Instruction
}

// Load has the kernel check and compile a program, and returns a descriptor of it. It needs CAP_BPF and the capability of the
// program's type, or CAP_SYS_ADMIN, in the initial user namespace; before Linux 5.11 also room in RLIMIT_MEMLOCK.
func Load(p *Program) (int, error) {
	code := Encode(p.Code)
	license := []byte("Apache-2.0\x00")
	attr := struct {
		progType, count       uint32
		instructions, license uint64
		logLevel, logSize     uint32
		logBuf                uint64
		version, flags        uint32
		name                  [16]byte
		ifindex, attachType   uint32
	}{
		progType: p.Type, count: uint32(len(p.Code)), attachType: p.AttachType,
		instructions: uint64(uintptr(unsafe.Pointer(&code[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:15], p.Name)
	fd, err := Call(cmdLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return fd, err
}

// Call calls bpf(2). attr is a pointer to the union's member for the command. Descriptors are close-on-exec.
func Call(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a signal came while the verifier ran
			continue
		}
		return -1, errno
	}
}
