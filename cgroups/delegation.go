package cgroups

// A Delegation says what the program may do with control groups where it is, and if that is not all, why.
type Delegation struct {
	// Group is the folder of the group that the program was in at Detect: of v2, else of the first hierarchy.
	Group string
	// Usable says that groups can be made below Group, in each hierarchy.
	Usable bool
	// Controllers are those that groups below Group can be limited by. On v2 as an ordinary user they are what was
	// delegated: systemd gives memory and pids, and others that Delegate= of the user's manager names.
	Controllers []string
	// Busy says that Group has processes of its own, the program itself usually: on v2 a limit then fails with
	// ErrParentBusy until they are moved by Evacuate.
	Busy bool
	// NSDelegate says that v2 is mounted with nsdelegate: a cgroup namespace is the border of a delegation, beyond
	// which not even root inside it can move processes.
	NSDelegate bool
	// UserManager is the folder of the group that systemd has delegated to the manager of the user who runs the
	// program (user@1000.service), where groups can be made if Usable is false; empty if there is none. A process gets
	// there only by way of that manager: CreateScope, or systemd-run --user --scope -p Delegate=yes.
	UserManager string
	// Err says why Usable is false; it is ErrNotDelegated, with what can be done.
	Err error
}
