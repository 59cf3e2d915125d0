package namespace

import (
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Share lets other programs take part in a process that this program runs itself, as if that had a keeper: by the folder of a [Keep],
// [Adopt] finds the process and hands out its input, and [OpenLog] reads what it prints. This program does what a keeper would: it writes to
// [Share.Log], and answers who asks. When it ends, for whatever reason, others are told that the process was killed, unless End was called.
type Share struct {
	k       *keeper
	control *os.File
	proc    *Process
	serving sync.WaitGroup

	mu    sync.Mutex
	input *os.File // nil without, or when it was closed
	size  int64    // of the log
	over  bool
}

// NewShare makes the files in k.Dir, of which the same is asked as for a Launch's Keep. Of k only Dir, LogSize and NoLog count. Call End or Abort.
func NewShare(k *Keep) (*Share, error) {
	if err := k.validateFolder(); err != nil {
		return nil, err
	}
	s := &Share{k: &keeper{logSize: k.logSize(), noLog: k.NoLog, path: k.Dir}}
	made, err := s.k.makeFiles()
	if err == nil {
		s.size, err = unix.Seek(s.k.log, 0, io.SeekEnd)
	}
	if err != nil {
		s.close()
		if made {
			s.k.removeFiles()
		}
		return nil, err
	}
	_ = unix.SetNonblock(s.k.control, true) // so that the runtime polls it
	s.control = os.NewFile(uintptr(s.k.control), keepControl)
	return s, nil
}

// Input gives the share a process's input of its own, for who asks for it: a second descriptor of the writing end of a pipe.
func (s *Share) Input(w *os.File) error {
	fd, err := duplicate(w)
	if err != nil {
		return err
	}
	s.input = os.NewFile(uintptr(fd), "stdin")
	return nil
}

// CloseInput is what [Process.CloseInput] is for others.
func (s *Share) CloseInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.input != nil {
		_ = s.input.Close()
		s.input = nil
	}
}

// Serve answers who asks for the process, or for its terminal's other end if it has one. Neither is closed by this.
func (s *Share) Serve(p *Process) {
	s.proc = p
	s.serving.Go(func() {
		for {
			what, reply, err := receiveAsk(s.control)
			if err != nil {
				return
			}
			s.answer(what, reply)
			_ = unix.Close(reply)
		}
	})
}

// receiveAsk takes a message, and the socket that the answer goes to. A message without one is left out.
func receiveAsk(control *os.File) (what byte, reply int, err error) {
	conn, err := control.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var b [8]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn := 0, 0
		var failed error
		if err := conn.Read(func(fd uintptr) bool {
			n, oobn, _, _, failed = unix.Recvmsg(int(fd), b[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
			return failed != unix.EAGAIN && failed != unix.EINTR
		}); err != nil {
			return 0, 0, err // closed
		}
		if failed != nil {
			continue // of descriptors there may be none left
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			continue
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err == nil && len(fds) == 1 && n > 0 {
			return b[0], fds[0], nil
		}
		for _, fd := range fds { // there is room for two
			_ = unix.Close(fd)
		}
	}
}

func (s *Share) answer(what byte, reply int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *os.File
	switch what {
	case askPidfd:
		f = s.proc.PidFD()
	case askInput:
		if f = s.input; f == nil {
			f = s.proc.TTY()
		}
	case askCloseInput:
		if s.input != nil {
			_ = s.input.Close()
			s.input = nil
		}
	}
	if f == nil {
		return
	}
	_ = withDescriptor(f, func(fd int) error { // if it was closed, the end of the connection says that
		return unix.Sendmsg(reply, []byte{what}, unix.UnixRights(fd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
}

// write appends frames to the log.
func (s *Share) write(stream Stream, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; len(b) > 0 && !s.over; b = b[min(len(b), frameData):] {
		s.frame(stream, b[:min(len(b), frameData)])
	}
}

// frame appends one frame; of what cannot be written whole, nothing stays.
func (s *Share) frame(stream Stream, b []byte) {
	var head [frameHeader]byte
	now := time.Now()
	for i, v := range []uint64{uint64(stream), uint64(len(b)), uint64(now.Unix()), uint64(now.Nanosecond())} {
		binary.NativeEndian.PutUint64(head[8*i:], v)
	}
	n, err := unix.Writev(s.k.log, [][]byte{head[:], b})
	if total := frameHeader + len(b); err != nil || n != total {
		_ = unix.Ftruncate(s.k.log, s.size)
		return
	}
	s.size += int64(n)
	if !s.k.noLog && s.size >= s.k.logSize {
		s.rotate()
	}
}

// rotate begins a new log, or goes on with this one if that cannot be.
func (s *Share) rotate() {
	err := unix.Renameat2(s.k.dir, keepLog, s.k.dir, keepOldLog, 0)
	if err != nil && err != unix.ENOENT { // ENOENT: it was renamed before, but then no new one could be made
		return
	}
	fd, err := unix.Openat(s.k.dir, keepLog, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	if unix.Dup3(fd, s.k.log, unix.O_CLOEXEC) == nil {
		s.size = 0
	}
	_ = unix.Close(fd)
}

// End writes down how the process has ended, nil if that is not known, and lets go of the folder: who waits for the end hears of it now. A
// second End does nothing.
func (s *Share) End(state *State) error {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if over {
		return nil
	}
	var err error
	if state != nil {
		if _, err = unix.Pwrite(s.k.exit, state.record(s.proc.Pid()), 0); err == nil {
			err = unix.Renameat2(s.k.dir, keepExitNew, s.k.dir, keepExit, 0)
		}
		if err == unix.ENOENT { // the folder was removed meanwhile
			err = nil
		}
	}
	_ = unix.Unlinkat(s.k.dir, keepControl, 0)
	s.close()
	if err != nil {
		return &os.PathError{Op: "write", Path: s.k.path + "/" + keepExit, Err: err}
	}
	return nil
}

// Abort takes the files back if the process was not started. After End, or a second time, it does nothing.
func (s *Share) Abort() {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if !over {
		s.k.removeFiles()
		s.close()
	}
}

func (s *Share) close() {
	if s.control != nil {
		_ = s.control.Close()
	}
	s.serving.Wait()
	s.CloseInput()
	for _, fd := range s.k.held { // the lock among them
		if s.control == nil || fd != s.k.control {
			_ = unix.Close(fd)
		}
	}
	s.k.held = nil
}

// record is how a keeper writes a process's end down.
func (s *State) record(pid int) []byte {
	b := make([]byte, exitSize)
	binary.NativeEndian.PutUint64(b, exitVersion)
	ended := s.Ended
	if ended.IsZero() {
		ended = time.Now()
	}
	binary.NativeEndian.PutUint64(b[exitTime:], uint64(ended.Unix()))
	binary.NativeEndian.PutUint64(b[exitTime+8:], uint64(ended.Nanosecond()))
	info, usage := s.info(max(pid, 1))
	copy(b[exitInfo:], (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:])
	copy(b[exitUsage:], (*[unsafe.Sizeof(usage)]byte)(unsafe.Pointer(&usage))[:])
	return b
}
