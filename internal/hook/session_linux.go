package hook

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"github.com/caisson-engine/caisson/internal/ocistate"
)

// killSession kills the processes of the session that the process of that number leads: those that a program has started, and
// that have not made a session of their own. The leader is not to be reaped before: its number is the session's.
func killSession(leader int) error {
	type process struct {
		pid   int
		start uint64
	}
	known := map[process]bool{} // those that were killed
	for {
		f, err := os.Open("/proc")
		if err != nil {
			return err
		}
		names, err := f.Readdirnames(-1)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		before := len(known)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			if start, ok := killMember(pid, leader); ok {
				known[process{pid, start}] = true
			}
		}
		// Who was killed makes no more processes: none has come since the one before.
		if len(known) == before {
			return nil
		}
	}
}

// killMember kills a process if it is of the session.
func killMember(pid, session int) (start uint64, ok bool) {
	if sid, err := ocistate.Session(pid); err != nil || sid != session {
		return 0, false
	}
	p, err := os.FindProcess(pid) // by a pidfd
	if err != nil {
		return 0, false
	}
	defer func() { _ = p.Release() }()
	if sid, err := ocistate.Session(pid); err != nil || sid != session { // now, since the descriptor is of who has the number
		return 0, false
	}
	if start, err = ocistate.StartTime(pid); err != nil {
		return 0, false
	}
	return start, p.Signal(syscall.SIGKILL) == nil
}
