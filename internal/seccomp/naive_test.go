package seccomp

import (
	"github.com/opencontainers/runtime-spec/specs-go"
)

// naive evaluates profiles rule by rule, straight from the specification's types: what the compiler is held against.
type naive struct {
	p    *specs.LinuxSeccomp
	abis []abi
}

// verdict is what the profile says of a call. names are the call's names on its ABI.
func (n *naive) verdict(d *data) verdict {
	which, ok := n.abi(d)
	if !ok {
		return retKillThread
	}
	otherwise, _ := actionFields{}.parse(n.p.DefaultAction, n.p.DefaultErrnoRet)
	newest := int64(-1)
	var conditional, unconditional *verdict
	set := func(to **verdict, v verdict) {
		if *to == nil {
			*to = &v
		}
	}
	for i := range n.p.Syscalls {
		rule := &n.p.Syscalls[i]
		v, _ := actionFields{}.parse(rule.Action, rule.ErrnoRet)
		for _, name := range rule.Names {
			number, known := numberOf(name, which)
			if known && (which != abiARM || number < 0xf0000) {
				newest = max(newest, int64(number))
			}
			if v == otherwise {
				continue
			}
			if known && number == d.number {
				if len(rule.Args) == 0 {
					set(&unconditional, v)
				} else if matches(rule.Args, d, which) {
					set(&conditional, v)
				}
			}
			if which == abiI386 && throughMux(name, d) {
				if len(rule.Args) == 0 || v&retActionMask != retAllow && v&retActionMask != retLog {
					set(&conditional, v)
				}
			}
		}
	}
	switch {
	case unconditional != nil:
		return *unconditional
	case conditional != nil:
		return *conditional
	}
	private := which == abiARM && d.number >= 0xf0000
	if newest >= 0 && int64(d.number) > newest && !otherwise.passes() && !private {
		return retErrno | enosys
	}
	return otherwise
}

func (n *naive) abi(d *data) (abi, bool) {
	for _, a := range n.abis {
		isX32 := d.audit == 0xc000003e && d.number >= 0x40000000
		if abiFacts[a].audit == d.audit && (a == abiX32) == isX32 {
			return a, true
		}
	}
	return 0, false
}

var byName = func() map[string][abiCount]int32 {
	m := map[string][abiCount]int32{}
	for _, row := range syscalls {
		m[row.name] = row.numbers
	}
	return m
}()

func numberOf(name string, which abi) (uint32, bool) {
	numbers, ok := byName[name]
	return uint32(numbers[which]), ok && numbers[which] >= 0
}

func throughMux(name string, d *data) bool {
	sockets := []string{
		"", "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
		"sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg",
		"sendmmsg",
	}
	ipc := []string{
		"", "semop", "semget", "semctl", "semtimedop", "", "", "", "", "", "", "msgsnd", "msgrcv", "msgget", "msgctl",
		"", "", "", "", "", "", "shmat", "shmdt", "shmget", "shmctl",
	}
	call := uint32(d.args[0])
	switch d.number {
	case 102:
		return call > 0 && int(call) < len(sockets) && sockets[call] == name
	case 117:
		call &= 0xffff
		return call > 0 && int(call) < len(ipc) && ipc[call] == name
	}
	return false
}

// matches tells whether the conditions hold: all of them, or any where two look at one argument.
func matches(args []specs.LinuxSeccompArg, d *data, which abi) bool {
	count := map[uint]int{}
	any := false
	for _, a := range args {
		count[a.Index]++
		any = any || count[a.Index] > 1
	}
	for _, a := range args {
		if compare(&a, d.args[a.Index], which) == any {
			return any
		}
	}
	return !any
}

func compare(a *specs.LinuxSeccompArg, arg uint64, which abi) bool {
	value, mask := a.Value, ^uint64(0)
	if a.Op == specs.OpMaskedEqual {
		mask, value = a.Value, a.Value&a.ValueTwo
	}
	if which == abiI386 || which == abiARM {
		if int64(int32(value)) == int64(value) && int64(value) < 0 { // a sign-extended negative number
			value, mask = value&0xffffffff, mask&0xffffffff
		}
		arg &= 0xffffffff
	}
	switch a.Op {
	case specs.OpEqualTo:
		return arg == value
	case specs.OpNotEqual:
		return arg != value
	case specs.OpLessThan:
		return arg < value
	case specs.OpLessEqual:
		return arg <= value
	case specs.OpGreaterEqual:
		return arg >= value
	case specs.OpGreaterThan:
		return arg > value
	}
	return arg&mask == value
}
