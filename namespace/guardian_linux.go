package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// guardian is the program's end of its guardian. What it shall do is in a table that both have open, a memory file, so
// that the program changes it without a word; only descriptors are sent, over a socket of which the program alone has
// the other end. Messages sent are read before the end of file that the program's own end causes.
var guardian struct {
	sync.Mutex
	socket int // 0 is not started
	table  int // 0 is not made
	slots  []*Ward
}

// Register takes the ward into the guardian's care: from its return on, its control group does not outlive this
// program. It is called before the container's process exists. The first call starts the guardian. A second one is an
// error.
func (w *Ward) Register() error {
	record, err := w.record()
	if err != nil {
		return err
	}
	guardian.Lock()
	defer guardian.Unlock()
	if w.active {
		return errors.New("register ward: it is registered already")
	}
	if err := startGuardian(); err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	slot := 0
	for slot < len(guardian.slots) && guardian.slots[slot] != nil {
		slot++
	}
	if slot == len(guardian.slots) {
		size := int64(len(guardian.slots)+1) * wardSize
		if err := unix.Ftruncate(guardian.table, size); err != nil {
			return fmt.Errorf("register ward: %w", os.NewSyscallError("ftruncate", err))
		}
		guardian.slots = append(guardian.slots, nil)
	}
	w.slot = slot
	binary.NativeEndian.PutUint64(record[recordPidfd:], uint64(w.descriptor()))
	// The first word says that the rest counts, so it comes last.
	off := int64(slot) * wardSize
	if _, err := unix.Pwrite(guardian.table, record[8:], off+8); err != nil {
		return fmt.Errorf("register ward: %w", os.NewSyscallError("pwrite", err))
	}
	if _, err := unix.Pwrite(guardian.table, record[:8], off); err != nil {
		return fmt.Errorf("register ward: %w", os.NewSyscallError("pwrite", err))
	}
	guardian.slots[slot] = w
	w.active = true
	return nil
}

// Add takes a process into the guardian's care: from its return on, the process does not outlive this program, nor does
// its PID namespace if it is the first one there. A ward has one process.
func (w *Ward) Add(p *Process) error {
	guardian.Lock()
	defer guardian.Unlock()
	if !w.active || w.process != nil {
		return errors.New("add process to ward: it is not registered, or has a process already")
	}
	w.process = p
	err := w.send(true)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ENOTCONN) {
		// Somebody has killed the guardian. A new one takes over the table; it has to be given the processes again.
		_ = unix.Close(guardian.socket)
		guardian.socket = 0
		err = startGuardian()
	}
	if err != nil {
		w.process = nil
		return fmt.Errorf("add process %d to ward: %w", p.Pid(), err)
	}
	return nil
}

// Release ends the guardian's care. The container's processes have ended and its control group is removed by then, or
// they live on after this program. A second Release does nothing.
func (w *Ward) Release() error {
	guardian.Lock()
	defer guardian.Unlock()
	if !w.active {
		return nil
	}
	w.active = false
	if _, err := unix.Pwrite(guardian.table, make([]byte, 8), int64(w.slot)*wardSize); err != nil {
		return fmt.Errorf("release ward: %w", os.NewSyscallError("pwrite", err))
	}
	if w.process != nil {
		_ = w.send(false) // a guardian that is dead has no descriptor to close
		w.process = nil
	}
	guardian.slots[w.slot] = nil
	return nil
}

// send gives the guardian the process's pidfd, to be kept under the slot's number, or tells it to close that.
func (w *Ward) send(keep bool) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(w.descriptor()))
	var rights []byte
	send := func() error {
		for {
			err := unix.Sendmsg(guardian.socket, b[:], rights, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return os.NewSyscallError("sendmsg", err)
			}
		}
	}
	if !keep {
		return send()
	}
	return withDescriptor(w.process.PidFD(), func(fd int) error {
		rights = unix.UnixRights(fd)
		return send()
	})
}

// descriptor is the guardian's number for the pidfd of the slot. Those below are free for what it opens in passing, and
// for the folders that it walks through.
func (w *Ward) descriptor() int { return guardianWalk + guardianDepth + w.slot }

// A record is, in words: 0 whether it counts; 1 the number of the pidfd; 2 and 3 the offsets of two paths, to a file
// where writing 1 kills the group and to one that lists its processes, if the first is not there; 4 the offset of the
// path of v1's freezer.state, since what is frozen there does not die; from 8 on the offsets of the folders to be
// removed, up to a zero. shared marks those that may hold other groups, which are not waited for.
const (
	recordPidfd   = 8
	recordKill    = 16
	recordProcs   = 24
	recordFreezer = 32
	recordFolders = 64
	recordPaths   = recordFolders + 8*(maxWardFolders+1)
	shared        = 1 << 32
)

func (w *Ward) record() ([]byte, error) {
	if len(w.Folders) > maxWardFolders {
		return nil, fmt.Errorf("register ward: %d folders are more than %d", len(w.Folders), maxWardFolders)
	}
	b := make([]byte, recordPaths, wardSize)
	le := binary.NativeEndian
	path := func(word int, path string, mark uint64) {
		le.PutUint64(b[word:], uint64(len(b))|mark)
		b = append(append(b, path...), 0)
	}
	le.PutUint64(b, 1)
	procs := ""
	for i, f := range w.Folders {
		if f == "" || strings.IndexByte(f, 0) >= 0 {
			return nil, fmt.Errorf("register ward: the folder %q cannot be", f)
		}
		if w.hasBelow(f) {
			path(recordFolders+8*i, f, shared)
			continue
		}
		path(recordFolders+8*i, f, 0)
		has := groupFiles(f)
		if has.kill {
			path(recordKill, f+"/cgroup.kill", 0)
		}
		if has.freezer {
			path(recordFreezer, f+"/freezer.state", 0)
		}
		procs = f + "/cgroup.procs"
	}
	if le.Uint64(b[recordKill:]) == 0 && procs != "" {
		path(recordProcs, procs, 0)
	}
	if len(b) > wardSize {
		return nil, fmt.Errorf("register ward: the folders' paths are %d bytes too long", len(b)-wardSize)
	}
	return b, nil
}

// hasBelow says whether another folder lies below f.
func (w *Ward) hasBelow(f string) bool {
	for _, g := range w.Folders {
		if strings.HasPrefix(g, f+"/") {
			return true
		}
	}
	return false
}

// startGuardian starts the guardian if there is none, and gives it the processes of all wards.
func startGuardian() error {
	if guardian.table == 0 {
		fd, err := unix.MemfdCreate("wards", unix.MFD_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("memfd_create", err)
		}
		guardian.table = fd
	}
	if guardian.socket != 0 {
		return nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	done := make(chan error)
	// Not on the caller's thread, which may be locked and in namespaces that are not the program's.
	go func() { done <- spawnGuardian(pair[1], guardian.table) }()
	if err := <-done; err != nil {
		_ = unix.Close(pair[0])
		return err
	}
	guardian.socket = pair[0]
	for _, w := range guardian.slots {
		if w == nil || w.process == nil {
			continue
		}
		// One that has just ended has no pidfd. The socket stays open whatever happens: its end is the order to kill.
		if err := w.send(true); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// spawnGuardian starts the stub, waits for it to be ready and reaps the first of its two processes.
func spawnGuardian(socket, table int) error {
	host := Namespace{Host: true}
	l := &Launch{Namespaces: Namespaces{Mount: host, PID: host, Network: host, IPC: host, UTS: host, Cgroup: host}}
	s := newStarter(l, guardianProgram(socket, table))
	defer s.close()
	p, err := s.begin(s.open)
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := s.result(context.Background()); err != nil {
		_, _ = p.Wait(context.Background())
		return err
	}
	state, err := p.Wait(context.Background())
	if err != nil && !errors.Is(err, unix.ECHILD) {
		return err
	}
	if err == nil && state.Code != 0 {
		return fmt.Errorf("guardian: exit status %d, signal %d", state.Code, state.Signal)
	}
	return nil
}
