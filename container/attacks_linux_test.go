package container_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { programs["attack"] = attack }

// attacks are what the hostile program in a container does. An error says how far it came; nil, that it was kept in.
var attacks = map[string]func(args []string) error{
	"enter": attackEntering, "type": attackTyping, "sockets": attackSockets, "exchange": attackExchange,
	"cgroup": attackCgroup, "mount": mountCgroups, "read": attackRead, "write": attackWrite, "crypto": attackCrypto, "chroot": attackChroot,
	"proc": attackProc, "capabilities": attackCapabilities, "console": attackConsole,
}

// attack makes an attack and says whether it was held off.
func attack(args []string) int {
	if err := attacks[args[1]](args[2:]); err != nil {
		fmt.Println("escaped:", err)
		return 1
	}
	fmt.Println("held")
	return 0
}

// attackEntering looks for a process that is entering the container until its input ends: to write to what it executes, to
// take its descriptors, to trace it.
func attackEntering([]string) error {
	runtime.LockOSThread()
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	done := map[int]bool{os.Getpid(): true} // which were seen to have executed their command: it is not to be held up
	for {
		select {
		case <-ended:
			return nil
		default:
		}
		names, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, n := range names {
			pid, err := strconv.Atoi(n.Name())
			if err != nil || done[pid] {
				continue
			}
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			done[pid] = err == nil && !strings.Contains(exe, "memfd:")
			if err := attackProcess(pid); err != nil {
				return err
			}
		}
	}
}

// isStub tells whether the process has not executed its command yet.
func isStub(proc string) bool {
	exe, err := os.Readlink(proc + "/exe")
	return err == nil && strings.Contains(exe, "memfd:")
}

func attackProcess(pid int) error {
	proc := fmt.Sprint("/proc/", pid)
	if f, err := os.OpenFile(proc+"/exe", os.O_WRONLY, 0); err == nil {
		_ = f.Close()
		return fmt.Errorf("opened the executable of %d for writing", pid)
	}
	if f, err := os.OpenFile(proc+"/mem", os.O_RDWR, 0); err == nil {
		stub := isStub(proc)
		_ = f.Close()
		if stub {
			return fmt.Errorf("opened the memory of the stub %d", pid)
		}
	}
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		if st, err := os.Stat(proc + "/fd/" + fd.Name()); err == nil && st.IsDir() && isStub(proc) {
			return fmt.Errorf("found a folder open in the stub %d", pid)
		}
	}
	if err := unix.PtraceAttach(pid); err != nil {
		return nil
	}
	var status unix.WaitStatus
	_, _ = unix.Wait4(pid, &status, unix.WALL, nil)
	stub := isStub(proc)
	_ = unix.PtraceDetach(pid)
	_ = unix.Kill(pid, unix.SIGCONT) // the stop may have been another than the one that the tracing asked for
	if stub {
		return fmt.Errorf("traces the stub %d", pid)
	}
	return nil
}

// attackTyping types a command into the terminal that is the container's input, but not its own.
func attackTyping([]string) error {
	for range 2 {
		for _, b := range []byte("evil\n") {
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&b)))
			if errno == 0 {
				return errors.New("TIOCSTI")
			}
		}
		// And with the terminal stolen from its session.
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 1); errno == 0 {
			return errors.New("TIOCSCTTY")
		}
	}
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		_ = f.Close()
		return errors.New("/dev/tty opens")
	}
	return nil
}

// attackSockets connects to every abstract socket of the host's network whose name is among the arguments.
func attackSockets(names []string) error {
	if len(names) == 0 {
		return errors.New("no names")
	}
	for _, name := range names {
		conn, err := net.Dial("unix", name)
		if err == nil {
			_ = conn.Close()
			fmt.Println("reached", name)
		}
	}
	return nil
}

// attackExchange swaps two names until its input ends.
func attackExchange(names []string) error {
	fmt.Println("ready")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return nil
		default:
		}
		if err := unix.Renameat2(unix.AT_FDCWD, names[0], unix.AT_FDCWD, names[1], unix.RENAME_EXCHANGE); err != nil {
			return err
		}
	}
}

// attackCgroup makes itself a user namespace in which it is root, mounts the control groups, and sets a program that the
// kernel executes on the host when a group gets empty. Then it tries the same without, and what it finds mounted. With an
// argument only files of that name count.
func attackCgroup(args []string) error {
	// unshare(2) of a user namespace takes a process with one thread, which a Go program is not.
	root := exec.Command("/bin/attack", append([]string{"mount"}, args...)...)
	root.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	out, err := root.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("in a user namespace: %s", out)
	}
	return mountCgroups(args)
}

func mountCgroups(only []string) error {
	for _, m := range [][2]string{{"cgroup", "rdma"}, {"cgroup", "memory"}, {"cgroup", "devices"}, {"cgroup", "none,name=evil"}, {"cgroup2", ""}} {
		_ = os.Mkdir("/tmp/cg", 0o755)
		if err := unix.Mount("none", "/tmp/cg", m[0], 0, m[1]); err != nil {
			continue
		}
		if err := spoilCgroups("/tmp/cg", only); err != nil {
			return fmt.Errorf("mounted %v: %w", m, err)
		}
	}
	return spoilCgroups("/sys/fs/cgroup", only)
}

// spoilCgroups writes where it can below a folder of control groups. An error says that it could.
func spoilCgroups(dir string, only []string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if len(only) > 0 && !slices.Contains(only, d.Name()) {
			return nil
		}
		if d.IsDir() {
			if err := os.Mkdir(path.Join(name, "evil"), 0o755); err == nil {
				return fmt.Errorf("made a group in %s", name)
			}
			return nil
		}
		switch d.Name() {
		case "release_agent", "notify_on_release", "cgroup.procs", "tasks", "memory.max", "memory.limit_in_bytes", "devices.allow",
			"cgroup.subtree_control", "pids.max":
			if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
				_ = f.Close()
				return fmt.Errorf("opened %s for writing", name)
			}
		}
		return nil
	})
}

// attackRead reads files that it must not be able to read.
func attackRead(names []string) error {
	for _, name := range names {
		if _, err := os.ReadFile(name); err == nil {
			return fmt.Errorf("read %s", name)
		}
	}
	return nil
}

// attackWrite opens files for writing that it must not be able to write to, also after an attempt to make their mounts
// writable, and to find them elsewhere.
func attackWrite(names []string) error {
	for _, name := range names {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			_ = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "")
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
		for _, prefix := range []string{"", "/proc/self/root", "/proc/1/root", "/proc/thread-self/cwd"} {
			if f, err := os.OpenFile(prefix+name, os.O_WRONLY, 0); err == nil {
				_ = f.Close()
				return fmt.Errorf("opened %s%s for writing", prefix, name)
			}
		}
	}
	return nil
}

// attackCrypto makes sockets of families that are forbidden, by every ABI of the machine.
func attackCrypto([]string) error {
	for name, family := range map[string]uintptr{"AF_ALG": unix.AF_ALG, "AF_VSOCK": unix.AF_VSOCK} {
		for abi, number := range map[string]uintptr{"own": unix.SYS_SOCKET, "x32": 1<<30 | unix.SYS_SOCKET} {
			_, _, errno := unix.Syscall(number, family, unix.SOCK_SEQPACKET, 0)
			if errno != unix.EPERM && !(abi == "x32" && errno == unix.ENOSYS) {
				return fmt.Errorf("%s by the %s ABI: %w", name, abi, errno)
			}
		}
		if runtime.GOARCH != "amd64" {
			continue
		}
		const socket, socketcall, makeSocket = 359, 102, 1
		if errno := interrupt80(socket, family, unix.SOCK_SEQPACKET); errno != unix.EPERM && errno != unix.ENOSYS {
			return fmt.Errorf("%s by i386's socket: %w", name, errno)
		}
		// socketcall's arguments lie where an address of 32 bits reaches.
		const map32bit = 0x40 // MAP_32BIT, which only x86 has
		page, err := unix.MmapPtr(-1, 0, nil, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|map32bit)
		if err != nil {
			return err
		}
		copy(unsafe.Slice((*uint32)(page), 3), []uint32{uint32(family), unix.SOCK_SEQPACKET, 0})
		if errno := interrupt80(socketcall, makeSocket, uintptr(page)); errno != unix.ENOSYS && errno != unix.EPERM {
			return fmt.Errorf("%s by i386's socketcall: %w", name, errno)
		}
	}
	return nil
}

// interrupt80 makes a call of i386. The code is in memory of its own: Go's register convention hands over the number, first
// and second argument where i386 wants them.
func interrupt80(number, a, b uintptr) unix.Errno {
	code := []byte{
		0x31, 0xd2, // xor edx, edx
		0xcd, 0x80, // int $0x80
		0x48, 0x63, 0xc0, // movsxd rax, eax
		0xc3, // ret
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return unix.ENOMEM
	}
	defer func() { _ = unix.Munmap(page) }()
	copy(page, code)
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return unix.EACCES
	}
	entry := uintptr(unsafe.Pointer(&page[0]))
	value := &entry
	f := *(*func(number, a, b uintptr) int)(unsafe.Pointer(&value))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if r := f(number, a, b); r < 0 {
		return unix.Errno(-r)
	}
	return 0
}

// attackChroot leaves its root in the ways there are, and looks what is above it: nothing but an empty file system, which
// cannot be written to. The argument is a file of the host.
func attackChroot(args []string) error {
	// By what is expected of the container's own root, at the arrival there.
	look := func(how string) error {
		if _, err := os.Stat(args[0]); err == nil {
			return fmt.Errorf("%s: found %s", how, args[0])
		}
		entries, err := os.ReadDir("/")
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			if err := os.WriteFile("/evil", nil, 0o644); err == nil {
				return fmt.Errorf("%s: wrote into the template", how)
			}
			return nil
		}
		if _, err := os.Stat("/bin/attack"); err != nil {
			return fmt.Errorf("%s: found %v", how, entries)
		}
		return nil
	}
	up := func() {
		for range 64 {
			_ = unix.Chdir("..")
		}
		_ = unix.Chroot(".")
	}
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/tmp/jail", 0o755); err != nil {
		return err
	}
	if err := unix.Chroot("/tmp/jail"); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	up()
	if err := look("chdir"); err != nil {
		return err
	}
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("fchdir: %w", err)
	}
	up()
	if err := look("fchdir"); err != nil {
		return err
	}
	// To enter the namespace that one is in leads to its root. It takes CAP_SYS_ADMIN.
	ns, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err == nil {
		up()
		return look("setns")
	}
	return nil
}

// attackProc looks for a proc that shows or changes more than a container's may. The arguments are files of the host.
func attackProc(files []string) error {
	for _, name := range []string{"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"} {
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
			_ = f.Close()
			return fmt.Errorf("opened %s for writing", name)
		}
	}
	for _, name := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		n, _ := f.Read(make([]byte, 64))
		_ = f.Close()
		if n > 0 {
			return fmt.Errorf("read %s", name)
		}
	}
	return attackRead(files)
}

// attackCapabilities says whether it has any that its user should not have, after the execution of itself by a file that
// has inheritable ones.
func attackCapabilities([]string) error {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if strings.HasPrefix(name, "Cap") && name != "CapBnd" && value != "0000000000000000" {
			return fmt.Errorf("%s is %s", name, value)
		}
	}
	return nil
}

// attackConsole looks where the terminal comes from.
func attackConsole([]string) error {
	var console, stdin unix.Stat_t
	if err := unix.Fstat(0, &stdin); err != nil {
		return err
	}
	if err := unix.Stat("/dev/console", &console); err != nil {
		return fmt.Errorf("no console: %w", err)
	}
	if console.Rdev != stdin.Rdev || console.Dev != stdin.Dev || stdin.Mode&unix.S_IFMT != unix.S_IFCHR {
		return fmt.Errorf("the console is device %#x, the terminal %#x", console.Rdev, stdin.Rdev)
	}
	return nil
}
