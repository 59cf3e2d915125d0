package namespace

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Attributes are what the kernel keeps about a process besides its ids and capabilities. They are in the form of an OCI
// runtime configuration ("process" and "linux" of version 1.3). The zero value of each is the default.
type Attributes struct {
	// Scheduler is the scheduling policy: sched_setattr(2). Nil leaves the host program's. A nice value below the host
	// program's, and the real-time policies, take CAP_SYS_NICE of the host program, not of the process. SCHED_ISO was never
	// in Linux and is refused.
	Scheduler *specs.Scheduler
	// IOPriority is the class, IOPRIO_CLASS_RT, _BE or _IDLE, and the priority, from 0 (first) to 7 (last), of reads and
	// writes: ioprio_set(2). Nil leaves the host program's.
	IOPriority *specs.LinuxIOPriority
	// CPUAffinity are the processors on which the process may run, as lists ("0-3,7"): Initial while it is set up, Final from
	// when it is in its control group. With a v2 group the process is in that from its first instruction, and Initial must
	// have a processor of the group's. Nil: a process that is put into a control group may run on all of that's processors,
	// whatever the host program's own affinity is; another has the host program's.
	CPUAffinity *specs.CPUAffinity
	// Personality is the execution domain, LINUX or LINUX32 (which uname(2) tells as machine), with flags of personality(2)
	// such as ADDR_NO_RANDOMIZE. Nil leaves the host program's.
	Personality *specs.LinuxPersonality
	// MemoryPolicy says from which NUMA nodes memory is taken: set_mempolicy(2). Nil leaves the host program's. Linux ≥ 5.15
	// for MPOL_PREFERRED_MANY, 6.9 for MPOL_WEIGHTED_INTERLEAVE.
	MemoryPolicy *specs.LinuxMemoryPolicy
	// KeepKeyring leaves the process the host program's session keyring, and with it the keys there. By default it gets a new
	// one: session-keyring(7).
	KeepKeyring bool
	// AppArmor is the profile that holds from the execution of the command on; it must be loaded. "unconfined" is the
	// kernel's own, which every process has if there is no AppArmor. Empty: what the profile of the host program says. Another
	// profile on a kernel without AppArmor is an error that satisfies errors.ErrUnsupported.
	AppArmor string
	// SELinux is the context ("system_u:system_r:container_t:s0:c1,c2") from the execution of the command on. Empty: what the
	// policy says. A kernel without SELinux is an error that satisfies errors.ErrUnsupported.
	SELinux string
	// Landlock restricts which files, TCP ports and processes the command can reach, whatever its user and capabilities.
	// Nil: nothing is restricted.
	Landlock *Landlock
}

// CheckAttributes returns the *[StartError] of a field that cannot be, whatever the kernel: its Path names the field. A start checks
// by itself.
func (a *Attributes) CheckAttributes() error {
	for _, check := range []func(badField) error{
		a.checkScheduler, a.checkIOPriority, a.checkAffinity, a.checkPersonality, a.checkMemoryPolicy, a.checkLabels,
		a.Landlock.check,
	} {
		if err := check(bad); err != nil {
			return err
		}
	}
	return nil
}

// A badField makes the error of a field with a value that cannot be.
type badField func(field, format string, a ...any) error

func bad(field, format string, a ...any) error {
	return &StartError{Step: "check", Path: field, Err: fmt.Errorf(format, a...)}
}

// The numbers of sched(7) and linux/sched.h.
const (
	schedOther    = 0
	schedFIFO     = 1
	schedRR       = 2
	schedBatch    = 3
	schedIdle     = 5
	schedDeadline = 6
)

func schedPolicies() map[specs.LinuxSchedulerPolicy]uint32 {
	return map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: schedOther, specs.SchedFIFO: schedFIFO, specs.SchedRR: schedRR, specs.SchedBatch: schedBatch,
		specs.SchedIdle: schedIdle, specs.SchedDeadline: schedDeadline,
	}
}

func schedFlags() map[specs.LinuxSchedulerFlag]uint64 {
	return map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04,
		specs.SchedFlagKeepPolicy: 0x08, specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20,
		specs.SchedFlagUtilClampMax: 0x40,
	}
}

func (a *Attributes) checkScheduler(bad badField) error {
	s := a.Scheduler
	if s == nil {
		return nil
	}
	if s.Policy == specs.SchedISO {
		return bad("Scheduler.Policy", "SCHED_ISO was never in Linux: %w", errors.ErrUnsupported)
	}
	policy, ok := schedPolicies()[s.Policy]
	if !ok {
		return bad("Scheduler.Policy", "there is no policy %q", s.Policy)
	}
	realtime, deadline := policy == schedFIFO || policy == schedRR, policy == schedDeadline
	switch {
	case s.Nice < -20 || s.Nice > 19:
		return bad("Scheduler.Nice", "%d is not between -20 and 19", s.Nice)
	case s.Nice != 0 && policy != schedOther && policy != schedBatch:
		return bad("Scheduler.Nice", "%s has no nice value", s.Policy)
	case realtime && (s.Priority < 1 || s.Priority > 99):
		return bad("Scheduler.Priority", "%d is not between 1 and 99", s.Priority)
	case !realtime && s.Priority != 0:
		return bad("Scheduler.Priority", "%s has no priority", s.Policy)
	case !deadline && s.Runtime|s.Deadline|s.Period != 0:
		return bad("Scheduler.Runtime", "%s has no runtime, deadline and period", s.Policy)
	case deadline && (s.Runtime < 1024 || s.Runtime > s.Deadline || (s.Period != 0 && s.Deadline > s.Period)):
		return bad("Scheduler.Runtime", "1024 ns ≤ runtime %d ≤ deadline %d ≤ period %d does not hold", s.Runtime, s.Deadline, s.Period)
	case max(s.Runtime, s.Deadline, s.Period) >= 1<<63:
		return bad("Scheduler.Period", "it does not fit into 63 bits")
	}
	for _, f := range s.Flags {
		if _, ok := schedFlags()[f]; !ok {
			return bad("Scheduler.Flags", "there is no flag %q", f)
		}
	}
	return nil
}

func ioClasses() map[specs.IOPriorityClass]int {
	return map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}
}

func (a *Attributes) checkIOPriority(bad badField) error {
	p := a.IOPriority
	if p == nil {
		return nil
	}
	if _, ok := ioClasses()[p.Class]; !ok {
		return bad("IOPriority.Class", "there is no class %q", p.Class)
	}
	if p.Priority < 0 || p.Priority > 7 {
		return bad("IOPriority.Priority", "%d is not between 0 and 7", p.Priority)
	}
	return nil
}

func (a *Attributes) checkAffinity(bad badField) error {
	if a.CPUAffinity == nil {
		return nil
	}
	for field, list := range map[string]string{"Initial": a.CPUAffinity.Initial, "Final": a.CPUAffinity.Final} {
		if list != "" {
			if _, err := parseNumbers(list, maxCPUs); err != nil {
				return bad("CPUAffinity."+field, "%w", err)
			}
		}
	}
	return nil
}

func personalityFlags() map[specs.LinuxPersonalityFlag]uint64 {
	return map[specs.LinuxPersonalityFlag]uint64{
		"UNAME26": 0x0020000, "ADDR_NO_RANDOMIZE": 0x0040000, "MMAP_PAGE_ZERO": 0x0100000, "ADDR_COMPAT_LAYOUT": 0x0200000,
		"READ_IMPLIES_EXEC": 0x0400000, "ADDR_LIMIT_32BIT": 0x0800000, "SHORT_INODE": 0x1000000, "WHOLE_SECONDS": 0x2000000,
		"STICKY_TIMEOUTS": 0x4000000, "ADDR_LIMIT_3GB": 0x8000000,
	}
}

func (a *Attributes) checkPersonality(bad badField) error {
	p := a.Personality
	if p == nil {
		return nil
	}
	if p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32 {
		return bad("Personality.Domain", "%q is neither LINUX nor LINUX32", p.Domain)
	}
	for _, f := range p.Flags {
		if _, ok := personalityFlags()[f]; !ok {
			return bad("Personality.Flags", "there is no flag %q", f)
		}
	}
	return nil
}

func memoryModes() map[specs.MemoryPolicyModeType]uint64 {
	return map[specs.MemoryPolicyModeType]uint64{
		specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
		specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
	}
}

func memoryFlags() map[specs.MemoryPolicyFlagType]uint64 {
	return map[specs.MemoryPolicyFlagType]uint64{
		specs.MpolFStaticNodes: 1 << 15, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFNumaBalancing: 1 << 13,
	}
}

func (a *Attributes) checkMemoryPolicy(bad badField) error {
	p := a.MemoryPolicy
	if p == nil {
		return nil
	}
	if _, ok := memoryModes()[p.Mode]; !ok {
		return bad("MemoryPolicy.Mode", "there is no mode %q", p.Mode)
	}
	var all uint64
	for _, f := range p.Flags {
		bit, ok := memoryFlags()[f]
		if !ok {
			return bad("MemoryPolicy.Flags", "there is no flag %q", f)
		}
		all |= bit
	}
	const exclusive = 1<<15 | 1<<14
	none := p.Mode == specs.MpolDefault || p.Mode == specs.MpolLocal
	switch {
	case all&exclusive == exclusive:
		return bad("MemoryPolicy.Flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other")
	case all&^exclusive != 0 && p.Mode != specs.MpolBind && p.Mode != specs.MpolPreferredMany:
		return bad("MemoryPolicy.Flags", "MPOL_F_NUMA_BALANCING goes with MPOL_BIND and MPOL_PREFERRED_MANY only")
	case none && (p.Nodes != "" || all != 0):
		return bad("MemoryPolicy.Nodes", "%s has neither nodes nor flags", p.Mode)
	case none:
		return nil
	}
	if p.Nodes == "" && p.Mode != specs.MpolPreferred {
		return bad("MemoryPolicy.Nodes", "%s needs nodes", p.Mode)
	}
	if p.Nodes != "" {
		if _, err := parseNumbers(p.Nodes, maxNodes); err != nil {
			return bad("MemoryPolicy.Nodes", "%w", err)
		}
	}
	return nil
}

func (a *Attributes) checkLabels(bad badField) error {
	if err := checkLabel(a.AppArmor); err != nil {
		return bad("AppArmor", "%w", err)
	}
	if err := checkLabel(a.SELinux); err != nil {
		return bad("SELinux", "%w", err)
	}
	if a.AppArmor != "" && a.SELinux != "" {
		return bad("SELinux", "there is an AppArmor profile too: a kernel has one of them")
	}
	return nil
}

// checkLabel keeps what would be read as another command of the kernel's file out of a label.
func checkLabel(label string) error {
	if len(label) > 1024 {
		return fmt.Errorf("%d bytes are more than 1024", len(label))
	}
	if strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%q holds a blank or a control character", label)
	}
	return nil
}
