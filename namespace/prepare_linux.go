package namespace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// A Prepared is what was made for a start while its caller still looks at what is to be started: see [Prepare].
type Prepared struct {
	network bool
	done    chan struct{} // closed when the others are set
	fd      int           // of the network namespace, or 0
	err     error
}

// Prepare begins to make what a start takes, but for one in a user namespace, and returns at once: what is made once for all starts of
// a program, and, if network is set, a network namespace for Launch.Prepared, whose lo is up. That takes the kernel longer than all
// other namespaces, and as long as the checks of a configuration. What cannot be made, the start says. The caller closes it
// after the start.
func Prepare(network bool) *Prepared {
	p := &Prepared{network: network, done: make(chan struct{})}
	here := processor()
	go func() {
		defer close(p.done)
		p.err = thread.Run(func() (err error) {
			leave(here)
			if network {
				if p.fd, err = makeNetwork(); err != nil {
					return err
				}
			}
			template.Lock()
			defer template.Unlock()
			if template.fd == 0 {
				if fd, err := makeTemplate(false); err == nil { // else the start says it
					template.fd = fd
				}
			}
			return nil
		})
	}()
	// Of the goroutines that a thread has made, another thread takes the last one only after a nap of 3 µs, which are 60 by the kernel's timers.
	go func() {}()
	return p
}

// Close gives up the network namespace, if no process was started in it.
func (p *Prepared) Close() {
	if p == nil {
		return
	}
	<-p.done
	if p.fd > 0 {
		_ = unix.Close(p.fd)
	}
	p.fd = 0
}

func (p *Prepared) hasNetwork() bool { return p != nil && p.network }

// takeNetwork waits for the namespace, whose descriptor is the start's then: it serves one.
func (p *Prepared) takeNetwork() (fd int, owned bool, err error) {
	<-p.done
	if p.err != nil {
		return -1, false, p.err
	}
	fd, p.fd = p.fd, 0
	if fd == 0 {
		return -1, false, unix.EBADF // it was closed, or a process was started in it
	}
	return fd, true, nil
}

// makeNetwork gives the calling thread a new network namespace and returns a descriptor of it.
func makeNetwork() (int, error) {
	fail := func(step string, err error) (int, error) {
		return 0, &StartError{Step: step, Path: "network namespace", Err: err}
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fail("unshare", err)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail("socket", err)
	}
	defer unix.Close(s)
	req := loopbackUp()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fail("ioctl", errno)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", err)
	}
	return fd, nil
}

// processor is the number of the processor that the caller runs on, or 0.
func processor() int {
	var n uint32
	_, _, _ = unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&n)), 0, 0)
	return int(n)
}

// leave moves the calling thread from processor n to another one, if it may run there. It is not bound to that. The kernel often wakes a thread on
// the processor of the one that wakes it, and of two that are to work side by side one waits then, though another processor is idle.
func leave(n int) {
	var all unix.CPUSet
	if processor() != n {
		return
	}
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return
	}
	others := all
	others.Clear(n)
	if unix.SchedSetaffinity(0, &others) == nil {
		_ = unix.SchedSetaffinity(0, &all)
	}
}
