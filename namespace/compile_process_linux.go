package namespace

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/thread"
	"golang.org/x/sys/unix"
)

// supported says what the kernel lacks of what is asked for.
func (l *Launch) supported() error {
	a := &l.Attributes
	if a.AppArmor != "" && a.AppArmor != unconfined { // which every process is then
		if err := kernel.AppArmor.Err(); err != nil {
			return bad("AppArmor", "%w", err)
		}
		if err := profileLoaded(a.AppArmor); err != nil {
			return bad("AppArmor", "%q is not loaded: load it from its file by apparmor_parser -r FILE: %w", a.AppArmor, err)
		}
	}
	if err := contextKnown(a.SELinux); err != nil {
		return bad("SELinux", "%w", err)
	}
	if err := contextKnown(l.MountLabel); err != nil {
		return bad("MountLabel", "%w", err)
	}
	return nil
}

// contextKnown asks the kernel for a context of SELinux, if it is not empty, as profileLoaded does.
func contextKnown(label string) error {
	if label == "" {
		return nil
	}
	if err := kernel.SELinux.Err(); err != nil {
		return err
	}
	if err := attributeOfThread("exec", label); err == unix.EINVAL {
		return fmt.Errorf("%q is no context of the policy that is loaded: %w", label, err)
	}
	return nil
}

// attributeOfThread writes a security attribute of a thread that is thrown away.
func attributeOfThread(name, value string) error {
	return thread.Run(func() error {
		fd, err := unix.Open("/proc/thread-self/attr/"+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(value))
		return err
	})
}

// profileLoaded asks the kernel for a profile, by a thread that is thrown away: what it would take on if it executed something.
// An error that is not about the profile is for the process to meet.
func profileLoaded(name string) error {
	if err := attributeOfThread("apparmor/exec", "exec "+name); err == unix.ENOENT {
		return err
	}
	return nil
}

// unconfined is the profile of AppArmor that is always there.
const unconfined = "unconfined"

// labels names the profile or context that the next execution, which is that of the command, takes on. The host's /proc
// is still there: what the container has at that place cannot be mistaken for it.
func (c *compiler) labels() {
	if p := c.l.AppArmor; p != "" && !(p == unconfined && kernel.AppArmor.Err() != nil) {
		c.attribute("/proc/self/attr/apparmor/exec", "exec "+p, p)
	}
	if s := c.l.SELinux; s != "" {
		c.attribute("/proc/self/attr/exec", s, s)
		c.attribute("/proc/self/attr/keycreate", s, s) // of the session keyring
	}
}

// attribute writes a security attribute and makes sure that it reads as what is wanted.
func (c *compiler) attribute(file, value, want string) {
	fd, buf := c.variable("attr", 8), c.variable("label", (len(want)+8)&^7)
	c.openat(num(atCWD), file, unix.O_RDWR).to(fd)
	c.call("write", unix.SYS_WRITE, fd, c.str(value), num(len(value))).about(file + " " + want)
	c.call("pread64", unix.SYS_PREAD64, fd, buf.addr(), num(len(want)), num(0)).about(file)
	for i := 0; i < len(want); i += 8 {
		var word, mask [8]byte
		for k := range copy(word[:], want[i:]) {
			mask[k] = 0xff
		}
		le := binary.NativeEndian
		test := c.op(opTest, buf.at(i), arg{kind: argHex, v: le.Uint64(word[:]), text: fmt.Sprintf("%q", want[i:min(i+8, len(want))])},
			arg{kind: argHex, v: le.Uint64(mask[:])})
		test.about(want).name = "check " + file
	}
	c.close(fd)
}

// affinity is where the process may run, before or after it is in its control group.
func (c *compiler) affinity(final bool) {
	list, a := "", c.l.CPUAffinity
	if a != nil {
		list = a.Initial
		if final {
			list = a.Final
		}
	}
	if list != "" {
		mask, _ := parseNumbers(list, maxCPUs) // it was checked
		c.call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, num(0), num(8*len(mask)), c.words("["+list+"]", mask...)).
			about("CPUs " + list)
		return
	}
	if final && (len(c.l.CgroupTasks)+len(c.l.CgroupPaths) > 0 || c.l.CgroupDir != nil) {
		mask := make([]uint64, maxCPUs/64)
		for i := range mask {
			mask[i] = math.MaxUint64
		}
		c.call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, num(0), num(8*len(mask)), c.words("[all]", mask...)).about("all CPUs")
		c.ignore(anyError)
	}
}

// attributes sets what is the process's own and needs no file.
func (c *compiler) attributes() {
	a := &c.l.Attributes
	if p := a.Personality; p != nil {
		persona, text := uint64(0), string(p.Domain)
		if p.Domain == "LINUX32" {
			persona = 8
		}
		for _, f := range p.Flags {
			persona |= personalityFlags()[f]
			text += "|" + string(f)
		}
		c.call("personality", unix.SYS_PERSONALITY, arg{kind: argHex, v: persona, text: text}).about(text)
	}
	if p := a.MemoryPolicy; p != nil {
		mode, text := memoryModes()[p.Mode], string(p.Mode)
		for _, f := range p.Flags {
			mode |= memoryFlags()[f]
			text += "|" + string(f)
		}
		nodes, bits := null, 0
		if p.Nodes != "" {
			mask, _ := parseNumbers(p.Nodes, maxNodes) // it was checked
			nodes, bits = c.words("["+p.Nodes+"]", mask...), 64*len(mask)+1
		}
		c.call("set_mempolicy", unix.SYS_SET_MEMPOLICY, arg{kind: argHex, v: mode, text: text}, nodes, num(bits)).
			about(text + " " + p.Nodes)
	}
	if p := a.IOPriority; p != nil {
		v := ioClasses()[p.Class]<<13 | p.Priority
		text := fmt.Sprintf("%s %d", p.Class, p.Priority)
		c.call("ioprio_set", unix.SYS_IOPRIO_SET, arg{kind: argInt, v: 1, text: "IOPRIO_WHO_PROCESS"}, num(0),
			arg{kind: argInt, v: uint64(v), text: text}).about(text)
	}
	c.scheduler()
}

func (c *compiler) scheduler() {
	s := c.l.Scheduler
	if s == nil {
		return
	}
	var b [56]byte // struct sched_attr
	le := binary.NativeEndian
	le.PutUint32(b[0:], uint32(len(b)))
	le.PutUint32(b[4:], schedPolicies()[s.Policy])
	var fl uint64
	for _, f := range s.Flags {
		fl |= schedFlags()[f]
	}
	le.PutUint64(b[8:], fl)
	le.PutUint32(b[16:], uint32(s.Nice))
	le.PutUint32(b[20:], uint32(s.Priority))
	le.PutUint64(b[24:], s.Runtime)
	le.PutUint64(b[32:], s.Deadline)
	le.PutUint64(b[40:], s.Period)
	text := fmt.Sprintf("{%s, flags=%#x, nice=%d, priority=%d, runtime=%d, deadline=%d, period=%d}", s.Policy, fl, s.Nice,
		s.Priority, s.Runtime, s.Deadline, s.Period)
	c.call("sched_setattr", unix.SYS_SCHED_SETATTR, num(0), c.bytes(b[:], text), num(0)).about(string(s.Policy))
}
