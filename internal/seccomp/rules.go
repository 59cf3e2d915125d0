package seccomp

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxArgs is the number of arguments of a syscall.
const maxArgs = 6

// A condition compares one argument. It holds the operators' least set: EQ, GE, GT and MASKED_EQ; NE, LT and LE are
// their opposites.
type condition struct {
	arg    uint8
	op     specs.LinuxSeccompOperator
	not    bool
	value  uint64
	mask   uint64 // for MASKED_EQ
	narrow bool   // the ABI's arguments have 32 bits
}

// A rule gives its verdict if all its conditions hold.
type rule struct {
	conditions []condition
	verdict    verdict
}

// named is a rule for one syscall.
type named struct {
	row *syscallRow
	rule
}

// rules is a profile with its names and words resolved.
type rules struct {
	otherwise verdict
	list      []named
	newest    [abiCount]int32 // the highest number that the profile names; -1 for none
}

// readProfile checks a profile and resolves it.
func readProfile(p *specs.LinuxSeccomp, strict bool) (*rules, error) {
	r := &rules{}
	var err error
	fields := actionFields{"defaultAction", "defaultErrnoRet"}
	if r.otherwise, err = fields.parse(p.DefaultAction, p.DefaultErrnoRet); err != nil {
		return nil, err
	}
	for i := range r.newest {
		r.newest[i] = -1
	}
	names := 0
	for i := range p.Syscalls {
		names += len(p.Syscalls[i].Names)
	}
	r.list = make([]named, 0, names)
	for i := range p.Syscalls {
		if err := r.add(&p.Syscalls[i], strict); err != nil {
			return nil, within(fmt.Sprintf("syscalls[%d].", i), err)
		}
	}
	return r, nil
}

// add resolves one rule of the profile.
func (r *rules) add(s *specs.LinuxSyscall, strict bool) error {
	v, err := actionFields{"action", "errnoRet"}.parse(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	conditions := make([]condition, len(s.Args))
	alone := false
	var seen [maxArgs]bool
	for i := range s.Args {
		if conditions[i], err = parseCondition(&s.Args[i]); err != nil {
			return within(fmt.Sprintf("args[%d].", i), err)
		}
		alone = alone || seen[conditions[i].arg]
		seen[conditions[i].arg] = true
	}
	if len(s.Names) == 0 {
		return wrong("names", "no names of syscalls")
	}
	next := 0
	for i, name := range s.Names {
		row := lookupFrom(&next, name)
		if row == nil {
			if strict || name == "" {
				return wrong(fmt.Sprintf("names[%d]", i), "unknown syscall %q", name)
			}
			continue
		}
		for i, n := range row.numbers {
			// arm's private range lies far above the table that grows.
			if n > r.newest[i] && (abi(i) != abiARM || n < armPrivate) {
				r.newest[i] = n
			}
		}
		switch {
		case v == r.otherwise:
		case alone:
			for i := range conditions {
				r.list = append(r.list, named{row, rule{conditions[i : i+1 : i+1], v}})
			}
		default:
			r.list = append(r.list, named{row, rule{conditions, v}})
		}
	}
	return nil
}

func parseCondition(a *specs.LinuxSeccompArg) (condition, error) {
	if a.Index >= maxArgs {
		return condition{}, wrong("index", "there is no argument %d: a syscall has 0 to %d", a.Index, maxArgs-1)
	}
	c := condition{arg: uint8(a.Index), op: a.Op, value: a.Value, mask: ^uint64(0)}
	switch a.Op {
	case specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan:
	case specs.OpNotEqual:
		c.op, c.not = specs.OpEqualTo, true
	case specs.OpLessThan:
		c.op, c.not = specs.OpGreaterEqual, true
	case specs.OpLessEqual:
		c.op, c.not = specs.OpGreaterThan, true
	case specs.OpMaskedEqual:
		c.mask, c.value = a.Value, a.ValueTwo&a.Value
	default:
		return condition{}, wrong("op", "unknown operator %q", a.Op)
	}
	return c, nil
}

// outcome is what is known of a condition before any argument is.
type outcome uint8

const (
	depends outcome = iota
	always
	never
)

// narrowed returns the condition for an ABI whose arguments have 32 bits. A value that is a negative number of 32 bits
// extended to 64 is cut; another one above 32 bits is greater than any argument.
func (c condition) narrowed() (condition, outcome) {
	const upper = 0xffff_ffff_0000_0000
	c.narrow = true
	if c.value&upper != 0 && int64(c.value) != int64(int32(c.value)) {
		if c.not {
			return c, always
		}
		return c, never
	}
	c.value &^= upper
	c.mask &^= upper
	return c, depends
}

// forABI returns the rule as the ABI needs it; ok is false if it can never match there.
func (r rule) forABI(a abi) (rule, bool) {
	if abiFacts[a].wide {
		return r, true
	}
	conditions := make([]condition, 0, len(r.conditions))
	for _, c := range r.conditions {
		c, known := c.narrowed()
		switch known {
		case never:
			return rule{}, false
		case depends:
			conditions = append(conditions, c)
		}
	}
	return rule{conditions, r.verdict}, true
}

// viaMux returns the rule for the call through i386's socketcall or ipc.
func (r rule) viaMux(m muxed) (rule, bool) {
	// The arguments are behind a pointer, out of sight: allow nothing that was not to be allowed without condition.
	if len(r.conditions) > 0 && (r.verdict == retAllow || r.verdict == retLog) {
		return rule{}, false
	}
	c := condition{op: specs.OpEqualTo, value: uint64(m.call), mask: ^uint64(0), narrow: true}
	if m.number == i386IPC { // the upper half of ipc's first argument is a version, which the kernel takes off
		c.op, c.mask = specs.OpMaskedEqual, 0xffff
	}
	return rule{[]condition{c}, r.verdict}, true
}
