package container

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/namespace"
)

// A Process is a command in a container: its own first one, or one that [Container.Command] starts inside it.
type Process struct {
	// Args are the command and its arguments. At least one is required, and the first is not empty.
	Args []string
	// Env is the environment, "name=value" each; of several values of a name the last one holds. Nothing is taken over
	// from the host. What is missing of PATH ("/usr/local/sbin:…:/bin", as Docker's), HOME (of User, else "/") and,
	// with TTY, TERM ("xterm") is added.
	Env []string
	// Dir is the working directory, an absolute path. Empty means "/". It must exist.
	Dir string
	// User says who runs the command: "name", "uid", "name:group", "uid:gid", or a mixture. Names are looked up in the
	// root's /etc/passwd and /etc/group, as are supplementary groups. Empty means root of the container.
	// Groups that a user namespace does not map are left out, unless Groups is set.
	User string
	// Groups are further supplementary groups, names or numbers.
	Groups []string
	// CapAdd and CapDrop change Docker's default set of capabilities: names with or without "CAP_", or "ALL", which
	// added means all that the host program has. What is in both is dropped, but CapDrop "ALL" comes first and CapAdd
	// adds to nothing. A user other than root has none of them in effect, as with Docker.
	CapAdd, CapDrop []string
	// Capabilities gives each of the five sets of capabilities(7) by itself, as "process.capabilities" of an OCI configuration
	// does; CapAdd and CapDrop are empty then. Effective must be in Permitted, Inheritable in Bounding, Ambient in Permitted and
	// Inheritable. What a program has when it is executed is the kernel's rule: root gets Bounding and Inheritable, another
	// user Ambient. Nil means Docker's default, with an empty Inheritable and Ambient.
	Capabilities *specs.LinuxCapabilities
	// NewPrivileges lets the command gain privileges by executing set-user-ID files and those with file capabilities.
	NewPrivileges bool
	// Rlimits are resource limits; others are the host program's. None may be given twice.
	Rlimits []Rlimit
	// Umask of the command. Nil means 022.
	Umask *os.FileMode
	// OOMScoreAdj is the command's oom_score_adj, from -1000 to 1000. Nil leaves the host program's.
	// To lower it takes CAP_SYS_RESOURCE of the host program.
	OOMScoreAdj *int
	// Attributes are what else the kernel keeps about a process: Scheduler, IOPriority, CPUAffinity, Personality,
	// MemoryPolicy, KeepKeyring, AppArmor, SELinux and Landlock. A [Container.Command] with neither of the labels has the container's.
	namespace.Attributes

	// Stdin is the standard input. If it is nil, the command reads from /dev/null. An *os.File is passed as it is.
	// Anything else is copied into a pipe by a goroutine; then Wait ends only when that has reached the end of Stdin or
	// could not write any more, or WaitDelay has passed.
	Stdin io.Reader
	// Stdout and Stderr are the standard output and error. If one is nil, it is /dev/null. An *os.File is passed as it
	// is. Anything else is written by a goroutine that reads from a pipe; Wait ends only when that has reached end of
	// file, or WaitDelay has passed. If both are the same writer, and of a type that == can compare, at most one
	// goroutine at a time calls Write.
	Stdout, Stderr io.Writer
	// MaxOutput bounds what Stdout and Stderr get together, in bytes: no more than that is written to them, and a command that prints more
	// is killed, with the container if it is the container's own. The error of Wait and its kin satisfies errors.Is(err, [ErrMaxOutput]).
	// Zero is no bound. It goes neither with an *os.File, which is passed as it is, nor with StdoutPipe and StderrPipe.
	MaxOutput int64
	// ExtraFiles are further files that the command has open: entry i is its descriptor 3+i. There are no others.
	ExtraFiles []*os.File
	// TTY gives the command a new terminal as its controlling terminal and standard input, output and error. Stdin is
	// then copied to it, an *os.File too, and ^D typed at its end; what appears on it is copied to Stdout. Stderr must
	// be nil or Stdout. Wait does not wait for the copying of Stdin.
	TTY bool
	// TTYSize is the terminal's first size. Zero leaves it 0 by 0.
	TTYSize namespace.WinSize

	// StopSignal is what Stop, and Run when its context ends, send. Nil means SIGTERM. It is a syscall.Signal.
	StopSignal os.Signal
	// WaitDelay bounds two delays. When Run's context ends, the command is killed if it has not ended WaitDelay after
	// StopSignal; if it is zero, at once. And when the command has ended but other processes hold its pipes open, the
	// pipes are closed after WaitDelay, and Wait returns [ErrWaitDelay] if there is nothing worse to report; if it is
	// zero, Wait waits for them.
	WaitDelay time.Duration

	// State says how the command ended. Nil before Wait, Run, Output or CombinedOutput has reported its end.
	State *State

	mapped bool // it is in a user namespace of the container's

	in  *Container // the container it is executed in; nil for a container's own process
	io  stdio
	run running
}

// An Rlimit bounds a resource: getrlimit(2). [namespace.RlimitByName] gives the numbers.
type Rlimit = namespace.Rlimit

// running is the part of a Process that its methods share once it was started.
type running struct {
	mu      sync.Mutex
	started bool // Start was called, whatever came of it
	proc    *namespace.Process
	exited  chan struct{} // closed when end and endErr are set; nil before the start
	end     *State
	endErr  error
	waited  *namespace.State // nil if the status is not known
	lost    bool             // endErr says why it is not
	cause   error            // why Run or MaxOutput stopped it
	printed int64            // bytes, where MaxOutput bounds them

	startedAt time.Time
	finishing chan struct{} // held by the Wait that finishes
	finished  bool
	result    error
}

// String returns the arguments, for messages.
func (p *Process) String() string { return strings.Join(p.Args, " ") }

// Pid returns the process's number as the host sees it, or 0 before it was started. After its end the number may be
// another process's: use the methods to signal it.
func (p *Process) Pid() int {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.run.proc == nil {
		return 0
	}
	return p.run.proc.Pid()
}
