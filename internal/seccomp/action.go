package seccomp

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A verdict is a filter's return value: SECCOMP_RET_* of linux/seccomp.h, with data in the lower half.
type verdict uint32

const (
	retKillThread  verdict = 0
	retTrap        verdict = 0x0003_0000
	retErrno       verdict = 0x0005_0000
	retUserNotif   verdict = 0x7fc0_0000
	retTrace       verdict = 0x7ff0_0000
	retLog         verdict = 0x7ffc_0000
	retAllow       verdict = 0x7fff_0000
	retKillProcess verdict = 0x8000_0000

	retActionMask verdict = 0xffff_0000
)

// Errors' numbers are the same on all ABIs here.
const (
	eperm  = 1
	enosys = 38

	maxErrno = 4095 // the kernel cuts greater ones down to this
)

var actions = []struct {
	name    specs.LinuxSeccompAction
	verdict verdict
}{
	{specs.ActKill, retKillThread},
	{specs.ActKillThread, retKillThread},
	{specs.ActKillProcess, retKillProcess},
	{specs.ActTrap, retTrap},
	{specs.ActErrno, retErrno},
	{specs.ActTrace, retTrace},
	{specs.ActAllow, retAllow},
	{specs.ActLog, retLog},
	{specs.ActNotify, retUserNotif},
}

// An actionFields names the two fields of an action, for errors.
type actionFields struct{ action, errno string }

// parse returns the verdict of an action. ERRNO and TRACE carry a number, EPERM if none is given; to give one with
// another action is an error, as the specification demands.
func (f actionFields) parse(action specs.LinuxSeccompAction, errno *uint) (verdict, error) {
	v, ok := verdict(0), false
	for i := range actions {
		if actions[i].name == action {
			v, ok = actions[i].verdict, true
		}
	}
	if !ok {
		return 0, wrong(f.action, "unknown action %q", action)
	}
	limit := uint(maxErrno)
	switch v {
	case retTrace:
		limit = 0xffff
	case retErrno:
	default:
		if errno != nil {
			return 0, wrong(f.errno, "action %s takes no errno, got %d", action, *errno)
		}
		return v, nil
	}
	if errno == nil {
		return v | eperm, nil
	}
	if *errno > limit {
		return 0, wrong(f.errno, "errno %d of action %s is above %d", *errno, action, limit)
	}
	return v | verdict(*errno), nil
}

// passes tells whether the verdict lets the syscall happen, or leaves it to a tracer or a listener that can.
func (v verdict) passes() bool {
	switch v & retActionMask {
	case retAllow, retLog, retTrace, retUserNotif:
		return true
	}
	return false
}

// Flags of seccomp(2) for SECCOMP_SET_MODE_FILTER, as in linux/seccomp.h.
const (
	FlagTSync        = 1 << 0 // all threads of the process
	FlagLog          = 1 << 1 // log all actions but ALLOW; Linux 4.14
	FlagSpecAllow    = 1 << 2 // leave the mitigation of speculative store bypass off; Linux 4.17
	FlagNewListener  = 1 << 3 // seccomp(2) returns the descriptor of the listener for NOTIFY; Linux 5.0
	FlagWaitKillable = 1 << 5 // a notified process waits killable only; Linux 5.19
)

// flagTSync is not among the specification's flags any more, yet profiles have it.
const flagTSync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// Flags returns the flags with which the profile asks its filter to be installed. FlagNewListener is among them when
// a rule has the action NOTIFY. Flags that are nil, not empty, mean SPEC_ALLOW, as runc has it.
func Flags(p *specs.LinuxSeccomp) (uint, error) {
	var flags uint
	if p.Flags == nil {
		flags = FlagSpecAllow
	}
	for i, f := range p.Flags {
		switch f {
		case flagTSync:
			flags |= FlagTSync
		case specs.LinuxSeccompFlagLog:
			flags |= FlagLog
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= FlagSpecAllow
		case specs.LinuxSeccompFlagWaitKillableRecv:
			flags |= FlagWaitKillable
		default:
			return 0, wrong(fmt.Sprintf("flags[%d]", i), "unknown flag %q", f)
		}
	}
	if Notifies(p) {
		flags |= FlagNewListener
	}
	if flags&FlagWaitKillable != 0 && flags&FlagNewListener == 0 {
		return 0, wrong("flags", "%s needs a rule with the action %s",
			specs.LinuxSeccompFlagWaitKillableRecv, specs.ActNotify)
	}
	return flags, nil
}

// Notifies tells whether a rule of the profile, or its default, has the action NOTIFY.
func Notifies(p *specs.LinuxSeccomp) bool {
	return p.DefaultAction == specs.ActNotify || slices.ContainsFunc(p.Syscalls, func(s specs.LinuxSyscall) bool {
		return s.Action == specs.ActNotify
	})
}
