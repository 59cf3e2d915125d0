package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run gen.go

// An abi is a way of calling the kernel, with numbers of its own.
type abi uint8

// The order is that of the columns of the table of syscalls.
const (
	abiX8664 abi = iota
	abiI386
	abiX32
	abiAarch64
	abiARM
	abiCount
)

type syscallRow struct {
	name    string
	numbers [abiCount]int32
}

// abiFacts holds what the filters need to know of each ABI. audit is AUDIT_ARCH_* of linux/audit.h. An ABI that is
// not wide hands its arguments over as 32 bits.
var abiFacts = [abiCount]struct {
	arch  specs.Arch
	audit uint32
	wide  bool
}{
	abiX8664:   {specs.ArchX86_64, 0xc000003e, true},
	abiI386:    {specs.ArchX86, 0x40000003, false},
	abiX32:     {specs.ArchX32, 0xc000003e, true},
	abiAarch64: {specs.ArchAARCH64, 0xc00000b7, true},
	abiARM:     {specs.ArchARM, 0x40000028, false},
}

// x32Bit is set in the numbers of x32's syscalls, which share x86_64's value of AUDIT_ARCH.
const x32Bit = 1 << 30

// armPrivate is where arm's private syscalls begin (__ARM_NR_BASE), far above those that all machines share.
const armPrivate = 0x0f0000

// machines holds the ABIs of each GOARCH, its own first.
func machines() map[string][]abi {
	return map[string][]abi{
		"amd64": {abiX8664, abiI386, abiX32},
		"386":   {abiI386},
		"arm64": {abiAarch64, abiARM},
		"arm":   {abiARM},
	}
}

// specArchs are the architectures that the specification names.
var specArchs = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS,
	specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC,
	specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC, specs.ArchPARISC64,
	specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}

// abisOf returns the machine's own ABI and those others of it that the profile names, each once.
func abisOf(goarch string, archs []specs.Arch) ([]abi, error) {
	all, ok := machines()[goarch]
	if !ok {
		return nil, fmt.Errorf("seccomp on %s: not implemented: %w", goarch, errors.ErrUnsupported)
	}
	for i, a := range archs {
		if !slices.Contains(specArchs, a) {
			return nil, wrong(fmt.Sprintf("architectures[%d]", i), "unknown architecture %q", a)
		}
	}
	abis := []abi{all[0]}
	for _, a := range all[1:] {
		if slices.Contains(archs, abiFacts[a].arch) {
			abis = append(abis, a)
		}
	}
	return abis, nil
}

// lookup returns the row of a syscall, or nil.
func lookup(name string) *syscallRow { return lookupFrom(new(int), name) }

// lookupFrom does so, and looks first where the one after another's is, which next tells: profiles name syscalls in their order,
// mostly.
func lookupFrom(next *int, name string) *syscallRow {
	i := *next
	for near := min(i+4, len(syscalls)); i < near && syscalls[i].name < name; {
		i++
	}
	if i == len(syscalls) || syscalls[i].name != name {
		i = sort.Search(len(syscalls), func(i int) bool { return syscalls[i].name >= name })
	}
	if i == len(syscalls) || syscalls[i].name != name {
		return nil
	}
	*next = i + 1
	return &syscalls[i]
}

// i386 has two syscalls that stand for many: socketcall(2) and ipc(2), which take the number of the real one as their
// first argument.
const (
	i386Socketcall = 102
	i386IPC        = 117
)

type muxed struct {
	number uint32 // of socketcall or ipc
	call   uint32 // their first argument
}

// i386Mux tells how a syscall is reached through socketcall (linux/net.h) or ipc (linux/ipc.h).
var i386Mux = sync.OnceValue(func() map[string]muxed {
	m := map[string]muxed{
		"semop": {i386IPC, 1}, "semget": {i386IPC, 2}, "semctl": {i386IPC, 3}, "semtimedop": {i386IPC, 4},
		"msgsnd": {i386IPC, 11}, "msgrcv": {i386IPC, 12}, "msgget": {i386IPC, 13}, "msgctl": {i386IPC, 14},
		"shmat": {i386IPC, 21}, "shmdt": {i386IPC, 22}, "shmget": {i386IPC, 23}, "shmctl": {i386IPC, 24},
	}
	for i, name := range []string{
		"socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
		"sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg",
		"sendmmsg",
	} {
		m[name] = muxed{i386Socketcall, uint32(i + 1)}
	}
	return m
})

// Name returns the name of the syscall with this value of AUDIT_ARCH and number, or "".
func Name(audit, number uint32) string {
	for which, facts := range abiFacts {
		if facts.audit != audit || facts.audit == abiFacts[abiX32].audit && (number&x32Bit != 0) != (abi(which) == abiX32) {
			continue
		}
		for i := range syscalls {
			if n := syscalls[i].numbers[which]; n >= 0 && uint32(n) == number {
				return syscalls[i].name
			}
		}
	}
	return ""
}
