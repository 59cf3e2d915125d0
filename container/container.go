package container

import (
	"context"
	"os"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// A Container is a container being prepared or run. It cannot be used again after Start, Run, Output or
// CombinedOutput was called. The methods may be called by several goroutines at once, but the fields must not be
// changed once it was started.
//
// The zero value of every field but Args and Root is a good default, which is always the stricter choice.
type Container struct {
	// Process is the container's own command: what runs first, and with whose end the container ends.
	Process

	// Root is the root file system. It is required.
	Root *namespace.Root
	// ReadOnlyRoot makes the root file system read-only. Mounts have flags of their own.
	ReadOnlyRoot bool
	// Mounts are made besides the default ones: /proc, /sys, /sys/fs/cgroup and /dev with pts, shm and mqueue. One
	// whose Target is that of a default mount takes its place. Mounts are made in the order of their depth, else as
	// listed, so that /a is there before /a/b. A missing target is made.
	Mounts []Mount
	// ShmSize is the size of /dev/shm in bytes. Zero means 64 MiB. At least 4096 otherwise.
	ShmSize int64
	// RootPropagation is the propagation of the root file system's own mount. Zero is private.
	RootPropagation namespace.Propagation
	// MaskedPaths are covered, and ReadOnlyPaths made read-only with all below, where they exist: symbolic links are followed
	// inside the root. Nil means [DefaultMaskedPaths] and [DefaultReadOnlyPaths], or none if the container is privileged; an
	// empty list that is not nil means none. Clean absolute paths.
	MaskedPaths, ReadOnlyPaths []string
	// MountLabel is the SELinux context of files on each tmpfs and in /dev, but for the message queues of an IPC namespace that
	// is not new. Empty: what the policy says. A kernel without SELinux is an error that satisfies errors.ErrUnsupported.
	MountLabel string
	// Devices are devices of the host that the container may use, besides null, zero, full, random, urandom and tty.
	Devices []Device
	// Nodes are device nodes and named pipes by type and number, as in linux.devices of an OCI configuration, at paths below
	// /dev. Unlike Devices they let the container open nothing that it may not open anyway: DeviceRules do. FileMode nil
	// or 0 means 0666, UID and GID nil mean 0.
	Nodes []specs.LinuxDevice
	// DeviceRules are further rules of the device control group, after the default ones and those of Devices: the last rule
	// for a device holds.
	DeviceRules []cgroups.DeviceRule

	// Namespaces says which namespaces are new (the zero value of each), which are the host's, and which are joined
	// from elsewhere: see [Container.Namespace]. A new network namespace has loopback, up, and nothing else. A mount
	// namespace cannot be the host's or joined.
	Namespaces namespace.Namespaces
	// UIDMappings and GIDMappings give the container a new user namespace with these maps, as [namespace.Launch] says. Both or
	// none. If Root is a folder whose owner is none of the container's, its files show as if they were: idmapped, which
	// takes a file system that can do it.
	UIDMappings, GIDMappings []IDMapping
	// UserNamespace names the user whose subordinate ids, as /etc/subuid and /etc/subgid have them, become a new user
	// namespace's, from the container's root on. Empty means, with no mappings either, the host's user namespace; for a
	// host program that lacks CAP_SYS_ADMIN, as an ordinary user's, the one that Root was mounted in, or else its own: see
	// [namespace.OwnMappings].
	//
	// "keep-id", with ":uid=1000,gid=1000" after it or one of these, is for an ordinary user's program with subordinate ids: in the
	// container the user has the same ids as outside, or these, and the subordinate ones are all others, root's too. Files of the
	// user's in Root and in binds are its own there. User's empty value then is the user. Root is a folder: one that
	// package layer mounts for an ordinary user belongs to another user namespace.
	UserNamespace string
	// TimeOffsets, if they are not nil, give the container a new time namespace. Linux ≥ 5.6.
	TimeOffsets *namespace.TimeOffsets
	// Hostname is set in a new UTS namespace. Empty means twelve random hexadecimal digits, the last part of Cgroup's
	// default. At most 64 letters, digits, dots, hyphens and underscores. It cannot be set in a namespace that is not
	// new.
	Hostname string
	// Domainname is the NIS domain name, set in a new UTS namespace. Empty leaves the host's. At most 64 bytes.
	Domainname string
	// Sysctls are kernel parameters by name ("net.ipv4.ip_forward") of the container's own namespaces: net.* with a new
	// network, fs.mqueue.* and kernel's msg*, shm* and sem with a new IPC namespace, kernel.domainname with a new UTS
	// namespace. Others are refused, and values with other characters than letters, digits, blanks and "_.,:/*-".
	Sysctls map[string]string

	// Privileged gives the command all capabilities that the host program has, all devices of the host, writable /sys
	// and control groups, no masked path and no seccomp filter, and lets it gain privileges. It can take over the host.
	Privileged bool
	// Seccomp is the system call filter as in an OCI configuration; [Container.LoadSeccomp] reads one from a file. Nil
	// means Docker's default profile, without the making of sockets by socketcall(2) that Socketcall allows.
	Seccomp *specs.LinuxSeccomp
	// SeccompNotify gets the listener for the calls to which Seccomp says SCMP_ACT_NOTIFY, and answers them until Receive
	// returns an error; then it closes the listener. It is called in a goroutine of its own for each process that is
	// started with the filter: the container's own, and every [Container.Command], whose number the listener's Pid
	// tells. Calls may come while the process is being started: at the least the execution of the command, if that is
	// notified of. It takes CAP_SYS_PTRACE. With Seccomp's ListenerPath it must be nil: the listener is then sent to the
	// unix socket there, as an OCI runtime does, with SeccompState and ListenerMetadata. One of both is required if a
	// rule has that action.
	SeccompNotify func(*SeccompListener)
	// SeccompState is what is told of the container at ListenerPath. Nil stands for an ID which is the last part of
	// Cgroup. The version, the pid and the status, "creating" or "running", are filled in.
	SeccompState *specs.State
	// NoSeccomp leaves the filter out. Seccomp must be nil then.
	NoSeccomp bool
	// Socketcall lets 32-bit programs of x86 make sockets by socketcall(2), as Docker's profile does: most of those that
	// use the GNU C library, and those of Go, know no other way. No filter sees which sockets they make, so AF_ALG
	// and AF_VSOCK, which the profile keeps from containers, are in reach then. It concerns the default profile only.
	Socketcall bool

	// Memory bounds the memory of all processes together, in bytes. Zero is no limit. At least 6 MiB otherwise, as
	// with Docker: less does not suffice to start.
	Memory int64
	// MemorySwap bounds memory and swap together, in bytes. Zero means twice Memory, if that is set; -1 is no limit. It
	// needs Memory and is not less.
	MemorySwap int64
	// MemoryReservation is what the kernel tries to leave to the container when memory is short, in bytes. Zero is
	// none. It is less than Memory, if that is set.
	MemoryReservation int64
	// CPUs bounds the time on processors: 1.5 is one and a half of them. Zero is no limit. From 0.01 to the number of
	// processors of the machine.
	CPUs float64
	// CPUShares is the weight against others when processors are short. Zero means 1024. From 2 to 262144.
	CPUShares uint64
	// CpusetCPUs and CpusetMems are the processors and memory nodes that may be used, "0-3,7". Empty means all.
	CpusetCPUs, CpusetMems string
	// PidsLimit bounds the number of processes and threads. Zero and -1 are no limit.
	PidsLimit int64

	// Resources are further limits, those that have no field here among them; see [SpecResources] for those of an OCI
	// configuration. A limit that a field sets must not be set here too; rules for Devices are added to those here. Nil
	// sets none.
	Resources *cgroups.Resources

	// Cgroup is the path of the control group that is made for the container: relative to the one that the host
	// program is in, or from the root of the hierarchies if it begins with a slash. Empty means "caisson-" and twelve
	// random hexadecimal digits. A group of that name must not be there.
	Cgroup string
	// Scope, if it is not nil, has systemd make the control group, as a scope: the container is then a unit that systemctl shows and
	// stops, with the limits as properties, and on cgroup v2 nobody else writes to its groups. Name empty means
	// "caisson-" and twelve random hexadecimal digits; PIDs and Resources must be empty. The container's own group is
	// "container" in the scope's. Cgroup must be empty. The scope ends with the container. The error of Start is
	// [cgroups.ErrNoSystemd] where systemd does not run. A process of ours in it, which its limit of processes counts, keeps it until
	// what the group has counted is read. With Keep the scope needs a Name, is the keeper's too, and does not show limits of memory and
	// processes; and systemd removes it with its groups as soon as the keeper has ended, so that State.Cgroup is what it is only for a
	// program that waits for the end meanwhile, if it is fast enough.
	Scope *cgroups.ScopeOptions
	// NoCgroup runs the container in the host program's own control group: a start is faster by the making of the
	// groups, but there are no limits, no Pause, no Stats, and OOMKilled is never set. Nothing keeps the container then from
	// opening device nodes: CAP_MKNOD is not among the default capabilities. It needs a new PID namespace.
	NoCgroup bool

	// Init runs a small init as the container's first process, which passes signals on to the command and reaps the
	// processes that nobody waits for. A command that a signal ends has the Code 128 and its number then. The PID
	// namespace is a new one.
	Init bool

	// ForkServer is for containers in which many commands are executed. The first [Container.Command] leaves a process in the
	// container, of which further ones are cloned, in half the time. It has what the commands have, their capabilities and their
	// seccomp filter among it, and nothing else: for whoever in the container takes it over nothing is to be gained, and it cannot
	// be traced. But it is there: what lists the container's processes shows it, as "forkserver", and PidsLimit counts it. It ends
	// with the container or the host program. Commands that differ from what Command returns in more than Args, Env, Dir,
	// Umask, files and terminal are started as without it, and so are all where it cannot be: with a SeccompNotify, a Scheduler, AppArmor
	// or SELinux. The PID namespace is a new one.
	ForkServer bool

	// Keep, if it is not nil, detaches the container: it outlives the host program, its output goes to a log, and
	// [Container.Adopt] finds it again. Stdin, Stdout, Stderr and ExtraFiles are not set then; Cgroup is, unless
	// NoCgroup is.
	Keep *Keep
	// Shared, if it is not nil, has other programs take part in the container while this one runs it, and in its log afterwards: they find it
	// as one with a Keep of the same Dir, by [Container.Adopt], which enters it, writes to its input and waits for its end, and by [OpenLog].
	// Of the Keep, Dir, LogSize, NoLog and Stdin count. What the command prints goes to Stdout and Stderr and then to the log, which
	// neither delays it nor makes an error of a full disk; if both are one writer, the log has it as standard output. An *os.File is not
	// passed as it is, then, but with NoLog. With Stdin, the field of that name is copied to the input and ends it, and Wait does not wait for that copying.
	// The end is told by Wait: others see the container run until then. If this program is killed, the container was killed.
	// Cgroup is set, unless NoCgroup is.
	Shared *Keep

	// Setup, if it is not nil, is called during Start when the container's namespaces are there and nothing is executed
	// yet: to move a network interface in, say. pid is the process as the host sees it. ctx is Start's. The
	// command is executed after it has returned nil; an error undoes the start.
	Setup func(ctx context.Context, pid int) error

	// Hooks are programs that are executed at points of the container's life, as "POSIX-platform Hooks" of the OCI runtime specification has it,
	// each with the container's state on its standard input; a Timeout is in seconds, and ends all processes of the hook's session. One that
	// fails undoes the start. In this order:
	//
	// Prestart and CreateRuntime, by the host program, in its namespaces, when those of the container, its mounts and what Setup does are
	// there. The folder "rootfs" of the bundle is the root, in the container's mount namespace, where the host's paths are still in sight.
	//
	// CreateContainer, in the container's namespaces, at the same time: Path is the host's. Such a hook is the host's code, with what the host
	// program may do (in a user namespace of the container's, with what its root may), on files that the image chose: it must follow no
	// symbolic link that leads out of rootfs.
	//
	// StartContainer, when the container has nothing but its own root: Path is in the image, and gets no more than the command.
	//
	// Poststart, by the host program, when the command is executed, which is killed if one fails; the error of Start is a *StartError then, too.
	//
	// Poststop, by the host program, when the container has ended, and after a start that failed; what they do wrong is an error of Wait. With Keep,
	// the first program that sees the end runs them: see Adopt and Discard.
	//
	// With none of the first three a start takes no longer; with them some milliseconds. An Env of nil is the host program's, or in the
	// container none. They are not run for a Command, and a container of a Pool has none. Never take them from an image or from whoever may
	// not do all that the host program may.
	Hooks *specs.Hooks
	// HookState is what the hooks are told: an ID (empty means the last part of Cgroup's default), Annotations and the Bundle, a folder that Start
	// makes, with config.json and rootfs, and that is removed after the end: empty means one in os.TempDir. With a user namespace its root must be able to
	// walk there. What else the state has is filled in.
	HookState *specs.State

	hooks *hooking

	uids, gids []IDMapping // of the user namespace, if there is one
	rootUser   *os.File    // that of the root, if the container lives in it

	scopeGroup string // the container's group in its scope
	invocation string // of the scope, while it was this program that started the container
	scoping    *scoping

	name    string // the random part of Cgroup's and Hostname's default
	showing bool   // during Program: what is to be bound may be missing

	groupMu sync.Mutex
	group   *cgroups.Group // nil with NoCgroup, before Start and after the end
	paused  bool
	setUps  setUps
	// ungrouped says that the container does without a control group, which the machine does not give.
	ungrouped bool
	// oomAtEnd is how often the OOM killer had come when the container ended.
	oomAtEnd uint64

	forks      forkServer
	pool       *Pool // that it comes from
	held       *namespace.Held
	heldLaunch *namespace.Launch // what it was held with
	keptUser   string            // whom UserNamespace keeps, "1000:1000"
	netFiles   [2]*os.File       // of NetworkFiles
	adopted    atomic.Bool       // and it may be that it is being set up
	ward       *namespace.Ward
	fixed      map[string]any
}

// New returns a Container that runs args in root. It never fails: what is wrong with the arguments is an error of
// Start. args[0] is looked up in the PATH of Env inside the root, unless it holds a slash.
func New(root *namespace.Root, args ...string) *Container {
	return &Container{Root: root, Process: Process{Args: args}}
}

// String returns the arguments, for messages.
func (c *Container) String() string { return c.Process.String() }

// A StartError says that a command never ran: a step of its set-up failed. What was made has been undone. Step is
// "check" if a field is wrong, and Path then names the field.
type StartError = namespace.StartError

// A Device is a device node of the host that a container may use.
type Device struct {
	// Source is its path on the host, "/dev/fuse".
	Source string
	// Target is its path in the container, below /dev. Empty means Source.
	Target string
	// Permissions are what the device's control group allows: some of "r" (read), "w" (write) and "m" (make nodes).
	// Empty means "rwm".
	Permissions string
	// Mode are the node's permission bits. Zero means the source's.
	Mode os.FileMode
}
