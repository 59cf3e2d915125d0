package namespace

import (
	"context"
	"os"
	"time"
)

// A Launch describes the start of one process: the namespaces it lives in, the mounts it sees, its credentials and what
// it executes. It becomes a [Program] of system calls that runs in the new process; [Launch.Program] shows it without
// running it. A Launch may be started any number of times, also at once, unless its Root is a detached mount.
//
// The zero value of a field is its default, which is always the stricter one: new namespaces, no capability, no privilege
// to be gained.
type Launch struct {
	// Args are the arguments, Args[0] included. Required.
	Args []string
	// Path is the executable inside the root. If it is empty, Args[0] is looked up: as it is if it holds a slash, else in
	// the folders of the PATH in Env, or of DefaultPath if Env has none.
	Path string
	// Env is the environment, "name=value" each. The host's is never taken over.
	Env []string
	// Dir is the working directory inside the root. Default "/". It must exist.
	Dir string

	// Root is the root file system. Required, unless the mount namespace is joined or shared with the host.
	Root *Root
	// ReadOnlyRoot makes the root's own mount read-only; the mounts below it keep their own flags.
	ReadOnlyRoot bool
	// Mounts are made in order, below the root.
	Mounts []Mount
	// RootPropagation is that of the root's own mount; mounts made below it later on have it too. With Slave, what the host
	// mounts below the root's folder appears in the container. Shared is shared with namespaces that are copied of the
	// container's, never with the host.
	RootPropagation Propagation
	// MaskedPaths are covered: a file by /dev/null, a folder by an empty read-only one. Paths that do not exist are left
	// out. Symbolic links are followed inside the root, but not the last name below a mount of type proc or sysfs. It takes a
	// mount of type dev.
	MaskedPaths []string
	// ReadOnlyPaths are made read-only, with all below. Paths that do not exist are left out. Symbolic links are followed as
	// in MaskedPaths.
	ReadOnlyPaths []string
	// MountLabel is the SELinux context of the files of each tmpfs, devpts and mqueue that is mounted, those of Type dev
	// included; not of the message queues of an IPC namespace that is not new. Empty: what the policy says. A kernel without
	// SELinux is an error that satisfies errors.ErrUnsupported.
	MountLabel string

	// Namespaces says for each kind whether it is new (the default, but see there), shared with the host, or joined.
	Namespaces Namespaces
	// UIDMappings and GIDMappings give the process a new user namespace, which owns its other new namespaces: its ids are
	// those of User inside and the mapped ones outside, and its capabilities hold inside only. Both or none; each maps 0, as
	// which the set-up is done, and the ids of User. At most 340. Root must be allowed to reach its files: see RootIDMap.
	// It takes Linux ≥ 5.12. An ordinary user may map its own ids, one each, and those that /etc/subuid and /etc/subgid
	// grant, by newuidmap(1): [OwnMappings].
	UIDMappings, GIDMappings []IDMapping
	// RootIDMap, if it is not nil, shows the owners of Root's files as other ids.
	RootIDMap *IDMap
	// TimeOffsets, if they are not nil, give the process a new time namespace (Linux ≥ 5.6).
	TimeOffsets *TimeOffsets
	// Prepared, if it is not nil and has a network namespace, gives that to the process, whose is to be new. It serves one start,
	// not one with Keep nor in another user namespace.
	Prepared *Prepared
	// Hostname and Domainname are set in a UTS namespace that is new or joined. Empty leaves the host's. At most 64 bytes each.
	Hostname, Domainname string
	// Sysctls are written below /proc/sys in the new namespaces, in the order given.
	Sysctls []Sysctl

	// User are the ids of the process. The zero value is root of the container.
	User User
	// Umask of the process. Default 022.
	Umask *os.FileMode
	// Capabilities of the process; the zero value has none.
	Capabilities Capabilities
	// NewPrivileges lets the process and its children gain privileges by set-user-ID files and file capabilities. By
	// default no_new_privs is set (Linux ≥ 3.5).
	NewPrivileges bool
	// Seccomp is a filter as seccomp(2) takes it, an array of struct sock_filter in the machine's byte order. Empty: none.
	Seccomp []byte
	// SeccompFlags are the flags of SECCOMP_SET_MODE_FILTER.
	SeccompFlags uint
	// SeccompNotify is called by Start, with its ctx, when the filter is loaded: it gets the listener for the calls to
	// which the filter says NOTIFY.
	// The listener is the callee's, who closes it; the process goes on when SeccompNotify has returned, within a minute.
	// Calls of the set-up's own may be among those that are to be answered: the execution of the command at the least,
	// and with NewPrivileges all from the giving up of capabilities on. So the answering is done by a goroutine of its
	// own. An error undoes the start. It goes with the flag SECCOMP_FILTER_FLAG_NEW_LISTENER, and takes CAP_SYS_PTRACE.
	SeccompNotify func(context.Context, *SeccompListener) error
	// Rlimits are set for the process; others are the host program's.
	Rlimits []Rlimit
	// OOMScoreAdj is the process's oom_score_adj, -1000 to 1000. Nil leaves the host program's.
	OOMScoreAdj *int
	// Attributes are what else the kernel keeps about the process: scheduling, security labels, Landlock.
	Attributes

	// Stdin, Stdout and Stderr are the process's descriptors 0, 1 and 2. Nil is /dev/null. With TTY they are not used.
	Stdin, Stdout, Stderr *os.File
	// ExtraFiles are the descriptors from 3 on. Nothing else is inherited.
	ExtraFiles []*os.File
	// Own are those among Stdin, Stdout and Stderr that become the User's, by fchown(2) in the process's user namespace: an
	// ordinary user's program cannot give its pipes to other ids itself.
	Own []*os.File
	// TTY gives the process a new pseudo-terminal of the container's own devpts as controlling terminal and descriptors 0,
	// 1 and 2. Process.TTY is its other end. It needs a mount of type dev in Mounts, or a joined mount namespace.
	TTY bool
	// TTYSize is the terminal's first size. Zero is left to the kernel (0 by 0).
	TTYSize WinSize

	// CgroupTasks are files, opened for writing, into which the new process writes "0" to put itself into their cgroups:
	// `tasks` of v1 hierarchies and cgroup.procs of v2.
	CgroupTasks []*os.File
	// CgroupPaths are such files too, which the process opens itself when it has read a byte from Gate: its control group
	// can be made while it is. Absolute paths of the host. Gate is required, and is read from once more at the end.
	CgroupPaths []string
	// CgroupDir is the folder of a v2 cgroup, opened, in which the process is created (CLONE_INTO_CGROUP, Linux ≥ 5.7).
	// Where the call is denied, the process enters the group as its first act.
	CgroupDir *os.File

	// Gate, if it is not nil, holds the process back when everything is set up, before it executes: the process reads one
	// byte from it, or fails with ECANCELED at end of file. It is the reading end of a pipe.
	Gate *os.File

	// NetworkTo, if it is not nil, is a stream socket of unix(7) to which the process sends the descriptors of its new network
	// namespace and of the user namespace that owns it, a byte with each: /proc/PID/ns is closed to an ordinary user's
	// program. It takes a user namespace. [ReceiveFile] takes one.
	NetworkTo *os.File

	// Created, if it is not nil, is called by Start in the host program when the process exists, in its new PID, network,
	// IPC and UTS namespaces, and has executed nothing yet but the first steps of its set-up. An error of it undoes the
	// start. With Gate the command is executed only when Created has opened that.
	Created func(*Process) error

	// BeforeRoot, if it is not nil, is called by Start when the mounts are made and the process is about to leave the host's
	// file system: with a copy of all of the host's mounts around it, slaves of these, in which Root lies at its own
	// path. That is where the hooks of the OCI runtime specification run which need the host's paths; it takes some
	// milliseconds more. An error of it undoes the start. Without RootAt, Root must be a folder ([Dir]), its path without symbolic links.
	// If the mount namespace is not new, the mounts are made in it, at Root's path; they stay there when it is the host's, where
	// the process enters its root by chroot(2), which a privileged one can leave.
	BeforeRoot func(*Process) error
	// RootAt is where Root lies during BeforeRoot, in the process's mount namespace only: a folder of the host, by an absolute path in
	// its shortest form. Who may not get there, as root of a user namespace, must be allowed to enter the folder itself. Empty
	// means Root's own path. The mount namespace is a new one.
	RootAt string
	// BeforeCommand, if it is not nil, is called by Start when the process has entered its root, in which everything is made, and
	// before it becomes what the command is to be. An error of it undoes the start.
	BeforeCommand func(*Process) error

	// StubDir is the folder in which the stub is written when the kernel refuses to execute memory files
	// (vm.memfd_noexec=2). It must not be mounted noexec. Default os.TempDir.
	StubDir string

	// Init makes the process the command's parent, which passes signals on to it, reaps what ends in the PID namespace,
	// and ends as the command does: with its exit status, or 128 and the number of the signal that ended it. The PID
	// namespace is a new one.
	Init bool

	// Keep, if it is not nil, lets the process outlive the program. Stdin, Stdout and Stderr are nil then, and the mount
	// and PID namespaces are not joined.
	Keep *Keep

	// ForkServer, if it is not nil, clones the process where it can. Else the process is started as without it.
	ForkServer *ForkServer

	keeper *keeper
	parked *os.File // the report of a process that is parked
	ready  *ready   // of StartReady
	pause  *pause   // for BeforeRoot and BeforeCommand
	copies *Deputy  // for CopyUp

	edit                 func(*Program) // for tests: changes the program before it runs
	keeperEdit           func(*Program) // likewise, that of its keeper
	rootless, privileged bool           // for tests: does as an ordinary user's, or as root's program does
}

// DefaultPath is where a command is looked up when the environment has no PATH: that of Docker.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Namespaces says for each kind of namespace where the process lives. The zero value is a new namespace.
type Namespaces struct {
	Mount, PID, Network, IPC, UTS, Cgroup Namespace
	// User is new if the Launch has UIDMappings, and Time if it has TimeOffsets. Otherwise their zero value is the host's.
	User, Time Namespace
}

// A Namespace is new (its zero value), the host's, or an existing one.
type Namespace struct {
	// Host shares the host program's own namespace. The mount namespace can be shared or joined and have a Root only with
	// BeforeRoot.
	Host bool
	// Join is the namespace to enter: a pidfd, or a file of /proc/PID/ns. The Launch does not close it.
	Join *os.File
}

func (n Namespace) isNew() bool { return !n.Host && n.Join == nil }

// A Mount is one mount below the root. Its target is resolved inside the root: a symbolic link never leads out.
type Mount struct {
	// Type is what is mounted; "nodes" mounts nothing: see Nodes; neither does "link", a symbolic link to Source. "bind" attaches Source, a file or folder of the host, with what is mounted below it if
	// Recursive is set. "dev" is the container's /dev: a tmpfs with the standard nodes (null, zero, full, random, urandom,
	// tty), links (fd, stdin, stdout, stderr, core, ptmx) and
	// pts, shm and mqueue below it. "proc", "sysfs", "tmpfs", "cgroup2", "cgroup" (of v1) and others are the kernel's
	// file systems.
	Type string
	// Target is an absolute path inside the root. The file or folder is made if it is missing.
	Target string
	// Source is an absolute path of the host for a bind; for other types the name that mountinfo shows, default Type. For
	// "cgroup" and "cgroup2" it may be the absolute path of the folder of the process's own control group: with a new
	// cgroup namespace the mount is the same, but is made by a clone of the host's, whose time does not grow with the
	// number of groups.
	Source string
	// Root is what a bind attaches in place of Source: a folder, or a detached mount, which one container can be given.
	Root *Root
	// Subpath is what a bind attaches of Source or Root: a path below it, resolved there. Symbolic links, absolute ones
	// too, do not lead out. A part of a detached mount can be attached by Linux ≥ 6.15 only.
	Subpath string
	// Flags restrict what the mount allows, and Clear takes away what the source's mount restricts, of a bind. They hold for
	// the mounts below Source too if Recursive is set (Linux ≥ 5.12).
	Flags, Clear MountFlags
	// TopFlags and TopClear are like Flags and Clear, but hold for the mount itself only, and come after them.
	TopFlags, TopClear MountFlags
	// Data are the file system's options ("mode=1777,size=64m"), or of Type dev those of its shm ("size=65536k").
	Data string
	// Recursive makes a bind take the mounts below Source along.
	Recursive bool
	// CopyUp fills a tmpfs with what the root has at Target (not what other Mounts put there): files, folders, links and
	// device nodes with owners, modes and times, of files and folders the extended attributes too. The folder's own mode and
	// owner are taken over unless Data says otherwise. What does not fit is an error. In a user namespace device nodes are left
	// out, which nobody could open there, and a file of somebody who has no id in it is an error. The copying is done in the
	// control group of CgroupTasks or CgroupDir, by whose limits it is bound.
	CopyUp bool
	// Propagation of the mount, and of those below it that are taken along. The default is private.
	Propagation Propagation
	// Nodes are further device nodes of a mount of Type dev. Of several with a path the last one is made; the standard nodes
	// come first. With Type "nodes" they are made in the folder Target, whatever file system that is on, and their paths are
	// names in it; what has the name already stays. If Target is /dev, the standard nodes and links are made
	// too, unless Data is "existing", and they are what masks and the terminal take: the mount comes after all below /dev.
	Nodes []Device
	// IDMap, if it is not nil, shows the owners of a bind's files as other ids.
	IDMap *IDMap
}

// MountFlags restrict what a mount allows: the MS_ flags of mount(2).
type MountFlags uint

// The flags of a mount.
const (
	ReadOnly MountFlags = 1 << iota
	NoSuid
	NoDev
	NoExec
	NoAtime
	RelAtime
	StrictAtime
	NoSymfollow // Linux ≥ 5.10
	NoDirAtime
)

// Propagation says which mount events pass between a mount and its peers: mount_namespaces(7), shared subtrees.
type Propagation int

// The kinds of propagation.
const (
	Private Propagation = iota
	Slave
	Shared
	Unbindable
)

// A Device is a device node in a mount of Type dev.
type Device struct {
	// Path is relative to the mount, "fuse" or "net/tun".
	Path string
	// Block says that it is a block device, FIFO that it is a named pipe, which has no number; the default is a character
	// device.
	Block, FIFO bool
	// Major and Minor are its number.
	Major, Minor uint32
	// Mode are its permission bits. Default 0666.
	Mode os.FileMode
	// UID and GID own it.
	UID, GID uint32
	// Source is the node's path on the host. Default Path below /dev. In a user namespace no node can be made: there
	// Source, if it is this device, is bound, and has the host's mode and owner.
	Source string
}

// A Sysctl is a kernel parameter: Name is its path below /proc/sys with dots or slashes ("net.ipv4.ip_forward").
type Sysctl struct{ Name, Value string }

// An Rlimit bounds a resource of the process: getrlimit(2).
type Rlimit struct {
	// Resource is the number of RLIMIT_…, as RlimitByName gives it.
	Resource int
	// Soft and Hard are the limits; RlimitInfinity is none.
	Soft, Hard uint64
}

// RlimitInfinity is a limit that limits nothing.
const RlimitInfinity = ^uint64(0)

// A User are the ids of a process.
type User struct {
	// Name is the user's name in the image, if known. It has no effect on the launch.
	Name string
	// UID and GID are the user and the primary group.
	UID, GID uint32
	// Groups are the supplementary groups.
	Groups []uint32
	// Home is the user's home folder, if known. It has no effect on the launch.
	Home string
}

// Capabilities are the five sets of capabilities(7), a bit for each capability.
type Capabilities struct {
	Bounding, Effective, Permitted, Inheritable, Ambient CapabilitySet
}

// WinSize is the size of a terminal, in characters and in pixels (which are seldom used).
type WinSize struct{ Rows, Cols, X, Y uint16 }

// A StartError says that a process never ran: a step of its set-up failed. What was made has been undone.
type StartError struct {
	// Step is the system call or action that failed, such as "mount" or "execve".
	Step string
	// Path is what it was about, such as the mount's target or the executable. It may be empty.
	Path string
	// Err is the cause, most often a syscall.Errno.
	Err error
}

func (e *StartError) Error() string {
	s := "start container: " + e.Step
	if e.Path != "" {
		s += " " + e.Path
	}
	return s + ": " + e.Err.Error() + hint(e)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// A State is how a process ended and what it used.
type State struct {
	// Code is the exit status, or -1 if a signal ended the process.
	Code int
	// Signal is the number of the signal that ended the process, or 0.
	Signal int
	// CoreDumped says that a signal ended the process and the kernel wrote a core dump.
	CoreDumped bool
	// UserTime and SystemTime are the CPU time of the process and of the children it waited for.
	UserTime, SystemTime time.Duration
	// MaxRSS is the largest resident set of the process or one of those children, in bytes.
	MaxRSS int64
	// Ended is the time when the keeper learned of the end of a process that has one; else it is zero.
	Ended time.Time
}
