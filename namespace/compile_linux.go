package namespace

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A compiler turns a Launch into a Program. It opens nothing: what the host program has to open is listed in the
// Program's files.
type compiler struct {
	*Program
	l *Launch

	report  arg   // the descriptor for errors
	root    arg   // the root's mount
	empty   arg   // the template's empty folder, for masks
	dev     arg   // the mount of type dev
	null    arg   // its node null
	mounted []arg // the descriptors of Mounts, as far as they are made
	groups  []arg // those of mounts of control groups that are clones
	kernel  []kernelMount
	late    []lateMount
	user    userMode
	pauseAt *arg // where the process pauses
}

// A kernelMount is a mount of proc or sysfs, below which paths are masked.
type kernelMount struct {
	target string
	fd     arg
	id     arg // the mount's number
}

// A lateMount becomes read-only when all mounts are made.
type lateMount struct {
	target string
	flags  MountFlags
	fd     arg
	mount  int32
}

// Program returns the program that Start would run. Nothing is opened or changed. The errors are those of a Launch that
// cannot be: they name the field.
func (l *Launch) Program() (*Program, error) {
	p := newProgram()
	return p, l.compile(p)
}

func (l *Launch) compile(p *Program) error {
	if err := l.check(); err != nil {
		return err
	}
	c := &compiler{Program: p, l: l, user: l.userMode()}
	c.descriptors()
	c.keep()
	c.setUp()
	c.pause()
	c.terminal()
	c.seal()
	c.pauseInRoot()
	c.ownFiles()
	c.closeDescriptors()
	return c.finish()
}

func (l *Launch) check() error {
	if err := l.validate(); err != nil {
		return err
	}
	return l.supported()
}

// setUp is what comes before the command has a part in it: the container itself.
func (c *compiler) setUp() {
	if !c.user.rootless || !c.user.own { // an ordinary user can write maps, and files of /proc/self, only while it is
		c.notDumpable()
	}
	c.call("prctl", unix.SYS_PRCTL, flags(unix.PR_SET_NAME, prctlNames), c.setUpName(), num(0), num(0), num(0))
	c.call("umask", unix.SYS_UMASK, octal(0))
	if !c.keptInUser() {
		c.oomScore()
		c.labels()
	}
	c.affinity(false)
	c.joinCgroups()
	c.affinity(true)
	c.openTime()
	c.enterRootPlace()
	if c.user.own {
		c.call("setsid", unix.SYS_SETSID)
		c.enterUser()
		c.handNetwork()
	} else {
		c.join()
		c.newTime()
		c.call("setsid", unix.SYS_SETSID)
	}
	if c.l.Root != nil {
		if c.user.pivot {
			c.enterRootByPivot()
		} else {
			c.enterRoot()
		}
		for i := range c.l.Mounts {
			c.mount(i)
		}
		c.mounting = 0
		c.sysctls()
		c.hideKernelPaths()
		if !c.user.pivot {
			c.propagateRoot()
		}
	}
}

// seal completes it.
func (c *compiler) seal() {
	c.readOnlyLate()
	if c.user.pivot {
		c.leaveOldRoot()
		c.propagateRoot()
	}
	c.hostname()
	c.loopback()
	c.readOnlyRoot()
}

// finish is the command's part.
func (c *compiler) finish() error {
	c.workingDirectory()
	if err := c.landlock(); err != nil { // which opens files, as many as the limits may not allow
		return err
	}
	c.rlimits()
	c.signals()
	c.attributes()
	c.credentials()
	c.findCommand()
	if !c.l.waits() {
		c.gate()
	}
	c.execute()
	return nil
}

func (c *compiler) oomScore() {
	if c.l.OOMScoreAdj == nil {
		return
	}
	v := fmt.Sprint(*c.l.OOMScoreAdj)
	fd := c.variable("oom", 8)
	p := "/proc/self/oom_score_adj"
	c.openat(num(atCWD), p, unix.O_WRONLY).to(fd)
	c.call("write", unix.SYS_WRITE, fd, c.str(v), num(len(v))).about(p)
	c.close(fd)
}

func (c *compiler) openat(dir arg, name string, fl int) *step {
	return c.call("openat", unix.SYS_OPENAT, dir, c.str(name), flags(uint64(fl|unix.O_CLOEXEC), openNames), octal(0)).
		about(name)
}

func (c *compiler) close(fd arg) { c.call("close", unix.SYS_CLOSE, fd) }

// moveMount attaches a detached mount at a path below dir, or at dir itself if name is empty.
func (c *compiler) moveMount(m, dir arg, name string) *step {
	fl := uint64(unix.MOVE_MOUNT_F_EMPTY_PATH)
	if name == "" {
		fl |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return c.call("move_mount", unix.SYS_MOVE_MOUNT, m, c.str(""), dir, c.str(name), flags(fl, moveMountNames))
}
