package main

import (
	"syscall"
	"unsafe"

	"github.com/caisson-engine/caisson/internal/ocistate"
)

// Of the millisecond that start and delete of an ordinary container take, two thirds are the set-up and the end of Go's runtime. Linked with
//
//	CGO_ENABLED=0 go build -ldflags "-s -w -E _early" ./cmd/minirunc
//
// the program begins here instead. What start and delete do for a container of which create has noted that there is nothing special
// to be done (see noteEarly) are two dozen system calls, which need no runtime: no goroutine, no memory that is allocated, and no
// stack but the one that the kernel gives. Whatever is not as expected, an option, a lock that is held, a container that is not in the
// state for it, is left as it is, and the program begins as any other written in Go, and does all of it, or says what is wrong. So there is
// nothing that only happens here, and nothing that is checked here only.
//
// The functions below are called before there is a goroutine: they and all that they call must be go:nosplit, and must neither
// allocate nor panic.

// earlyFile is what create notes in a container's folder: strings that each end with a zero byte, of which the first byte says what
// they are.
const earlyFile = ocistate.EarlyFile

const (
	earlyPID    = 'p' // the number of the first process
	earlyStat   = 'f' // its file in /proc
	earlyBegan  = 't' // when it began, as that file has it
	earlyFrozen = 'z' // a file that says whether the control group is frozen
	earlyGroup  = 'g' // a directory of the control group
	earlyEnd    = '.' // the last one
)

// What is left for main, if it comes to that.
var (
	earlyUnpark  bool     // start has let the process go, which could not execute its command
	earlyReport  [16]byte // what it has said then
	earlyRemoved bool     // delete has removed the container, but for what is strange in its folder
)

// Memory, since the stack of a function that does not look at its end is small.
var (
	earlyDir   [4096]byte
	earlyNotes [16384]byte
	earlyText  [1024]byte
)

const (
	atCWD        = ^uintptr(99)
	sysPidfdOpen = 434
	earlyWait    = 10      // seconds: killWait
	earlyNap     = 2000000 // nanoseconds
)

var _ = early // called by _early

// early is called with the stack as the kernel makes it: the number of arguments, and the arguments. It says whether all is done.
//
//go:nosplit
func early(stack *uintptr) (done bool) {
	i := uintptr(1)
	var root, log *byte
	for ; ; i++ {
		a := earlyArg(stack, i)
		if a == nil {
			return false
		}
		if *a != '-' {
			break
		}
		a = earlySkip(a, 1)
		if *a == '-' {
			a = earlySkip(a, 1)
		}
		switch {
		case earlyIs(a, "systemd-cgroup"): // it is noted of no container whose control group systemd has made
			continue
		case earlyIs(a, "root"), earlyIs(a, "log"), earlyIs(a, "log-format"):
			i++
			v := earlyArg(stack, i)
			switch {
			case v == nil:
				return false
			case earlyIs(a, "root"):
				root = v
			case earlyIs(a, "log"):
				log = v
			case !earlyIs(v, "json") && !earlyIs(v, "text"):
				return false
			}
		default:
			return false
		}
	}
	verb := earlyArg(stack, i)
	isDelete := earlyIs(verb, "delete")
	if !isDelete && !earlyIs(verb, "start") {
		return false
	}
	i++
	id := earlyArg(stack, i)
	force := isDelete && id != nil && (earlyIs(id, "--force") || earlyIs(id, "-f"))
	if force {
		i++
		id = earlyArg(stack, i)
	}
	if root == nil || id == nil || earlyArg(stack, i+1) != nil || !earlyName(root, id) {
		return false
	}
	if log != nil { // it is made, whether there is something to be written or not
		const flags = syscall.O_CREAT | syscall.O_WRONLY | syscall.O_APPEND | syscall.O_CLOEXEC
		if fd, e := earlyCall(syscall.SYS_OPENAT, atCWD, earlyAddr(log), flags, 0o644); e != 0 {
			return false
		} else {
			earlyClose(fd)
		}
	}
	const flags = syscall.O_RDONLY | syscall.O_DIRECTORY | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	dir, e := earlyCall(syscall.SYS_OPENAT, atCWD, earlyAddr(&earlyDir[0]), flags, 0)
	if e != 0 {
		return false
	}
	// With the lock of a folder that has a state.json, it is the one at the path until the lock is given back.
	if _, e = earlyCall(syscall.SYS_FLOCK, dir, syscall.LOCK_EX|syscall.LOCK_NB, 0, 0); e == 0 {
		_, e = earlyCall(syscall.SYS_FACCESSAT, dir, earlyString("state.json\x00"), 0, 0)
	}
	if e == 0 && earlyWhole(earlyRead(dir, earlyString(earlyFile+"\x00"), &earlyNotes[0], uintptr(len(earlyNotes)))) {
		if isDelete {
			done = earlyDelete(dir, force)
		} else {
			done = earlyStart(dir)
		}
	}
	earlyClose(dir)
	return done
}

// earlyStart lets the process that waits execute its command, as namespace.Unpark does.
//
//go:nosplit
func earlyStart(dir uintptr) bool {
	for n := &earlyNotes[0]; *n != earlyEnd; n = earlyNext(n) {
		if *n != earlyFrozen {
			continue
		}
		if earlyRead(atCWD, earlyAddr(earlySkip(n, 1)), &earlyText[0], uintptr(len(earlyText))) <= 0 || earlyHas(&earlyText[0], "FROZEN") ||
			earlyHas(&earlyText[0], "frozen 1") {
			return false
		}
	}
	gateName, reportName := earlyString("exec.fifo\x00"), earlyString("report.fifo\x00")
	gate, e := earlyCall(syscall.SYS_OPENAT, dir, gateName, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if e != 0 { // nobody waits
		return false
	}
	report, e := earlyCall(syscall.SYS_OPENAT, dir, reportName, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if e != 0 {
		earlyClose(gate)
		return false
	}
	earlyCall(syscall.SYS_FCNTL, report, syscall.F_SETFL, 0, 0)
	earlyPipes(true) // it may end in this moment
	_, e = earlyCall(syscall.SYS_WRITE, gate, earlyAddr(&earlyReport[0]), 1, 0)
	earlyPipes(false)
	n := uintptr(0)
	for e == 0 && n < uintptr(len(earlyReport)) {
		var got uintptr
		got, e = earlyCall(syscall.SYS_READ, report, earlyAddr(earlySkip(&earlyReport[0], n)), uintptr(len(earlyReport))-n, 0)
		if got == 0 {
			break
		}
		if e == 0 {
			n += got
		}
	}
	earlyClose(gate)
	earlyClose(report)
	if n == uintptr(len(earlyReport)) {
		earlyUnpark = true
	}
	if e != 0 || n > 0 {
		return false
	}
	earlyCall(syscall.SYS_UNLINKAT, dir, gateName, 0, 0)
	earlyCall(syscall.SYS_UNLINKAT, dir, reportName, 0, 0)
	return true
}

// earlyDelete removes what is left of a container that has ended.
//
//go:nosplit
func earlyDelete(dir uintptr, force bool) bool {
	earlyPoll.fd = -1
	ended := earlyEnded(force)
	if earlyPoll.fd >= 0 {
		earlyClose(uintptr(earlyPoll.fd))
	}
	if !ended {
		return false
	}
	for n := &earlyNotes[0]; *n != earlyEnd; n = earlyNext(n) {
		if *n != earlyGroup {
			continue
		}
		_, e := earlyCall(syscall.SYS_UNLINKAT, atCWD, earlyAddr(earlySkip(n, 1)), atRemoveDir, 0)
		if e != 0 && e != syscall.ENOENT {
			return false
		}
	}
	// The state goes first: a half deleted container is a half made one.
	if _, e := earlyCall(syscall.SYS_UNLINKAT, dir, earlyString("state.json\x00"), 0, 0); e != 0 {
		return false
	}
	earlyCall(syscall.SYS_UNLINKAT, dir, earlyString("config.json\x00"), 0, 0)
	earlyCall(syscall.SYS_UNLINKAT, dir, earlyString("groups.json\x00"), 0, 0)
	earlyCall(syscall.SYS_UNLINKAT, dir, earlyString(earlyFile+"\x00"), 0, 0)
	_, e := earlyCall(syscall.SYS_UNLINKAT, atCWD, earlyAddr(&earlyDir[0]), atRemoveDir, 0)
	earlyRemoved = e != 0
	return e == 0
}

const atRemoveDir = 0x200

// earlyEnded says whether the container's first process has ended. It waits for one that is ending, as stop does, and for one of which
// that is not known as long as the runtime would take to start, unless it is to be killed.
//
//go:nosplit
func earlyEnded(force bool) bool {
	var pid uintptr
	var stat, began *byte
	for n := &earlyNotes[0]; *n != earlyEnd; n = earlyNext(n) {
		switch *n {
		case earlyPID:
			pid = earlyNumber(earlySkip(n, 1))
		case earlyStat:
			stat = earlySkip(n, 1)
		case earlyBegan:
			began = earlySkip(n, 1)
		}
	}
	if pid == 0 || stat == nil || began == nil {
		return false
	}
	waited, napped := false, false
	for {
		n := earlyRead(atCWD, earlyAddr(stat), &earlyText[0], uintptr(len(earlyText)))
		if n == -int(syscall.ENOENT) || n == -int(syscall.ESRCH) {
			return true
		}
		if n <= 0 {
			return false
		}
		// The name, in parentheses, may hold some itself.
		p := &earlyText[0]
		for q := p; *q != 0; q = earlySkip(q, 1) {
			if *q == ')' {
				p = q
			}
		}
		state := earlyField(p, 1)
		if *state == 'Z' || *state == 'X' || *state == 'x' || !earlyStarts(earlyField(state, 19), began) {
			return true
		}
		const exiting = 4 // PF_EXITING
		ending := earlyNumber(earlyField(state, 6))&exiting != 0
		if waited || !ending && (force || napped) {
			return false
		}
		if earlyPoll.fd < 0 { // and look again whose it is
			fd, e := earlyCall(sysPidfdOpen, pid, 0, 0, 0)
			if e != 0 {
				return e == syscall.ESRCH
			}
			earlyPoll.fd = int32(fd)
			continue
		}
		earlyPoll.events, earlyPoll.wait = 1, syscall.Timespec{Nsec: earlyNap}
		if ending {
			earlyPoll.wait = syscall.Timespec{Sec: earlyWait}
		}
		earlyCall(syscall.SYS_PPOLL, earlyAddr((*byte)(unsafe.Pointer(&earlyPoll.fd))), 1, earlyAddr((*byte)(unsafe.Pointer(&earlyPoll.wait))), 0)
		waited, napped = ending, true
	}
}

var earlyPoll struct {
	fd              int32
	events, revents int16
	wait            syscall.Timespec
}

// earlyName sets earlyDir to the folder of a container, if root and id are such that nothing needs to be looked at.
//
//go:nosplit
func earlyName(root, id *byte) bool {
	n := uintptr(0)
	last := byte('/')
	if *root != '/' || *earlySkip(root, 1) == 0 {
		return false
	}
	for ; *root != 0; root = earlySkip(root, 1) {
		if n > 3000 || n > 0 && last == '/' && (*root == '/' || *root == '.') {
			return false
		}
		last = *root
		*earlySkip(&earlyDir[0], n) = last
		n++
	}
	*earlySkip(&earlyDir[0], n) = '/'
	n++
	if *id == '.' || *id == '-' {
		return false
	}
	length := 0
	for ; *id != 0; id = earlySkip(id, 1) {
		switch c := *id; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '+', c == '-', c == '.':
		default:
			return false
		}
		*earlySkip(&earlyDir[0], n) = *id
		n++
		if length++; length > 255 {
			return false
		}
	}
	*earlySkip(&earlyDir[0], n) = 0
	return length > 0
}

// earlyRead reads a file of less than size bytes, and returns how many there are, or the error's number times -1.
//
//go:nosplit
func earlyRead(dir, name uintptr, to *byte, size uintptr) int {
	fd, e := earlyCall(syscall.SYS_OPENAT, dir, name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if e != 0 {
		return -int(e)
	}
	n, e := earlyCall(syscall.SYS_READ, fd, earlyAddr(to), size, 0)
	earlyClose(fd)
	if e == 0 && n == size {
		e = syscall.EFBIG
	}
	if e != 0 {
		return -int(e)
	}
	*earlySkip(to, n) = 0
	return int(n)
}

// earlyPipes has a write to a pipe that nobody reads be an error and no signal, or (no) undoes that.
//
//go:nosplit
func earlyPipes(yes bool) {
	const ignore, setSize = 1, 8
	if yes {
		earlyAction[0] = ignore
		earlyCall(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGPIPE), earlyWords(&earlyAction), earlyWords(&earlyBefore), setSize)
	} else {
		earlyCall(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGPIPE), earlyWords(&earlyBefore), 0, setSize)
	}
}

//go:nosplit
func earlyWords(p *[4]uintptr) uintptr { return uintptr(unsafe.Pointer(p)) }

var earlyAction, earlyBefore [4]uintptr // struct sigaction

// earlyWhole says whether n bytes of notes were read, up to the last one.
//
//go:nosplit
func earlyWhole(n int) bool {
	if n < 3 {
		return false
	}
	end := earlySkip(&earlyNotes[0], uintptr(n)-3)
	return *end == 0 && *earlySkip(end, 1) == earlyEnd && *earlySkip(end, 2) == 0
}

// earlyNext is the note after n.
//
//go:nosplit
func earlyNext(n *byte) *byte {
	for *n != 0 {
		n = earlySkip(n, 1)
	}
	return earlySkip(n, 1)
}

// earlyField is the n-th field after that at p, or what is left.
//
//go:nosplit
func earlyField(p *byte, n int) *byte {
	for ; n > 0 && *p != 0; p = earlySkip(p, 1) {
		if *p == ' ' {
			n--
		}
	}
	return p
}

//go:nosplit
func earlyNumber(p *byte) (n uintptr) {
	for ; '0' <= *p && *p <= '9'; p = earlySkip(p, 1) {
		n = n*10 + uintptr(*p-'0')
	}
	return n
}

// earlyStarts says whether the field at p is s.
//
//go:nosplit
func earlyStarts(p, s *byte) bool {
	for ; *s != 0; p, s = earlySkip(p, 1), earlySkip(s, 1) {
		if *p != *s {
			return false
		}
	}
	return *p == ' '
}

// earlyHas says whether the text at p has s in it.
//
//go:nosplit
func earlyHas(p *byte, s string) bool {
	for ; *p != 0; p = earlySkip(p, 1) {
		q, i := p, 0
		for i < len(s) && *q == s[i] {
			q, i = earlySkip(q, 1), i+1
		}
		if i == len(s) {
			return true
		}
	}
	return false
}

//go:nosplit
func earlyIs(p *byte, s string) bool {
	for i := range len(s) {
		if *p != s[i] {
			return false
		}
		p = earlySkip(p, 1)
	}
	return *p == 0
}

// earlyArg is the program's i-th argument, or nil.
//
//go:nosplit
func earlyArg(stack *uintptr, i uintptr) *byte {
	if i >= *stack {
		return nil
	}
	return *(**byte)(unsafe.Add(unsafe.Pointer(stack), (1+i)*unsafe.Sizeof(i)))
}

//go:nosplit
func earlySkip(p *byte, n uintptr) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(p), n)) }

//go:nosplit
func earlyAddr(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }

// earlyString is the address of a constant, which ends with a zero byte.
//
//go:nosplit
func earlyString(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s))) }

//go:nosplit
func earlyClose(fd uintptr) { earlyCall(syscall.SYS_CLOSE, fd, 0, 0, 0) }

//go:nosplit
func earlyCall(nr, a, b, c, d uintptr) (uintptr, syscall.Errno) {
	for {
		r, _, e := syscall.RawSyscall6(nr, a, b, c, d, 0, 0)
		if e != syscall.EINTR {
			return r, e
		}
	}
}
