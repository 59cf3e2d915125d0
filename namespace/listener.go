package namespace

import (
	"errors"
	"os"
)

// A SeccompListener receives the system calls for which the seccomp filter of a process, or of one that it started, says
// NOTIFY (SECCOMP_RET_USER_NOTIF), and answers them: [Launch.SeccompNotify] gets it. Who made a call waits for the answer.
// When the listener is closed, calls that wait and those that come get the error ENOSYS. Its methods may be called by
// several goroutines.
//
// What a call's arguments point to can be changed by the process's other threads at any time. So a call that was looked
// at and then continued may do something else: to keep a process from something, answer the call instead, having done
// what it asks from a copy of its arguments.
type SeccompListener struct {
	file *os.File
	pid  int
	turn chan struct{} // held by the one that receives
}

// Pid is the number, in the PID namespace of the host program, of the process that loaded the filter.
func (l *SeccompListener) Pid() int { return l.pid }

// A SeccompCall is a system call that waits for an answer. It is answered once, by Return, Fail, Continue or ReturnFile.
// When its process was killed, or a signal interrupted the call, the answer is an error that satisfies
// os.ErrProcessDone. A call that a signal interrupted comes again as another one, unless the signal's handler says otherwise;
// the kernel may even have taken an answer at that moment, which is lost.
type SeccompCall struct {
	// ID tells the listener's calls apart.
	ID uint64
	// Pid is the calling thread's number in the PID namespace of the host program. It is 0 if it has none there.
	Pid int
	// Arch is the ABI of the call: AUDIT_ARCH_… of linux/audit.h.
	Arch uint32
	// Number is the call's number on that ABI.
	Number int
	// InstructionPointer is where in its memory the process made the call.
	InstructionPointer uint64
	// Args are the arguments.
	Args [6]uint64

	listener *SeccompListener
}

// AddFileOptions are the optional settings of [SeccompCall.AddFile].
type AddFileOptions struct {
	// At is the descriptor that the file becomes; what was open there is closed. The default, 0, is the lowest free one.
	At int
	// Inherit leaves the descriptor open in programs that the process executes.
	Inherit bool
}

// listenerName is what the errors of a start call the listener.
const listenerName = "seccomp listener"

// errNotThere says that a call's process no longer waits for the answer.
var errNotThere = errors.Join(errors.New("the process does not wait for it any more"), os.ErrProcessDone)
