//go:build unix

package container

import (
	"os"
	"syscall"
)

func socketPair() (a, b *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range pair {
		syscall.CloseOnExec(fd)
	}
	_ = syscall.SetNonblock(pair[0], true)
	return os.NewFile(uintptr(pair[0]), "network"), os.NewFile(uintptr(pair[1]), "network"), nil
}
