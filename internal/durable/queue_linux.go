package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// A lock is asked for again and again until it is free. So that who asks rarely is not kept out by those who give it back
// and take it again at once, there is a turn: a lock of the file's first byte that belongs to the open file (OFD, Linux ≥
// 3.15) and has nothing to do with flock. Who waits for the lock has the turn, and others wait for the turn.

// takeTurn says whether it is this file's turn.
func takeTurn(f *os.File) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	return err != unix.EAGAIN && err != unix.EACCES // where it cannot be, there are no turns
}

func passTurn(f *os.File) {
	l := unix.Flock_t{Type: unix.F_UNLCK, Len: 1}
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
}
