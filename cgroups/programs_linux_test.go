package cgroups

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// helperPrograms are played by the test binary. Each first joins the groups whose files it was given from descriptor 3
// on, if any, and says "ready"; then it does its work, those that need a signal on reading a line.
func helperPrograms() map[string]testenv.Program {
	return map[string]testenv.Program{
		"cg-sleep":      playSleep,
		"cg-hog":        playHog,
		"cg-burn":       playBurn,
		"cg-bomb":       playBomb,
		"cg-device":     playDevice,
		"cg-grow":       playGrow,
		"cg-join":       playJoin,
		"cg-write":      playWrite,
		"cg-delegation": playDelegation,
		"cg-forker":     playForker,
		"cg-nested":     playNested,
	}
}

func playSleep(args []string) int {
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

// playJoin has its thread join the groups of the files from descriptor 3 on, and prints where it is then.
func playJoin(args []string) int {
	runtime.LockOSThread()
	files, _ := strconv.Atoi(args[1])
	for fd := 3; fd < 3+files; fd++ {
		if err := writeValue(fd, "0"); err != nil {
			fmt.Println(fd, err)
			return 1
		}
	}
	b, err := os.ReadFile("/proc/thread-self/cgroup")
	fmt.Println(string(b), err)
	return 0
}

// playNested detects where it is, and creates and removes a group with limits below its own: before and after it
// evacuated its own. It prints the errors as their causes.
func playNested(args []string) int {
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	m, err := Detect()
	if err != nil {
		fmt.Println("detect:", err)
		return 1
	}
	create := func(r *Resources) {
		g, err := m.Create("inner", r)
		switch {
		case errors.Is(err, ErrParentBusy):
			fmt.Println("busy", err)
		case errors.Is(err, ErrNotDelegated):
			fmt.Println("denied", err)
		case err != nil:
			fmt.Println("error", err)
		default:
			n, _ := g.node("memory")
			limit, _ := readNumber(n.dir, "memory.max")
			fmt.Println("created", limit, g.Remove(), g.Close())
		}
	}
	create(&Resources{Memory: 64 << 20})
	create(nil)
	fmt.Println("evacuate", m.Evacuate("main"))
	create(&Resources{Memory: 64 << 20})
	return 0
}

// playHog uses as many MiB as it is told to, keeps them, and says "done".
func playHog(args []string) int {
	mib, _ := strconv.Atoi(args[1])
	hog, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for i := 0; i < len(hog); i += 4096 {
		hog[i] = 1
	}
	fmt.Println("done")
	time.Sleep(time.Hour)
	return 0
}

// playGrow starts two hogs of its own and waits.
func playGrow(args []string) int {
	for range 2 {
		c := exec.Command("/proc/self/exe")
		c.Args = []string{"cg-sleep"}
		if err := c.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return playHog(args)
}

// playBurn burns CPU time until it is killed.
func playBurn(args []string) int {
	fmt.Println("ready")
	for i := 0; ; i++ {
		runtime.KeepAlive(i)
	}
}

// playBomb forks as many children as it can, up to a bound, and says how many it got and what the error was. It does so
// by bare system calls: Go's runtime would crash when it cannot have another thread.
func playBomb(args []string) int {
	most, _ := strconv.Atoi(args[1])
	debug.SetGCPercent(-1)
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	for i := range most {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			sleepForever()
		}
		if errno != 0 {
			say := []byte("refused " + strconv.Itoa(i) + " " + strconv.FormatBool(errno == unix.EAGAIN) + "\n")
			_, _, _ = unix.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&say[0])), uintptr(len(say)))
			break
		}
	}
	sleepForever()
	return 0
}

// playForker forks without end, and so do its children after 10 ms each, until they may not. Those that have ended are nowhere: for
// whoever had to reap them, on a busy machine, they would be what the limit on processes is of.
func playForker(args []string) int {
	debug.SetGCPercent(-1)
	signal.Ignore(unix.SIGCHLD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	forkForever()
	return 0
}

func forkForever() {
	// A child has one thread, and must not come to handle the runtime's signals.
	runtime.LockOSThread()
	every := ^uint64(0)
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&every)), 0, 8, 0, 0)
	nap := unix.Timespec{Nsec: 10e6}
	for generation := 0; ; {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			generation++
		}
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&nap)), 0, 0, 0)
		if generation > 0 && errno != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
}

func sleepForever() {
	for {
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// playDevice opens device nodes that it makes in a folder: for each argument "c:1:3:rw" it says "ok" or the error.
func playDevice(args []string) int {
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0
		}
		var dir, access string
		var kind byte
		var major, minor uint32
		if _, err := fmt.Sscanf(line, "%s %c %d %d %s", &dir, &kind, &major, &minor, &access); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(tryDevice(dir, kind, unix.Mkdev(major, minor), access))
	}
}

func tryDevice(dir string, kind byte, dev uint64, access string) string {
	path := dir + "/node"
	defer os.Remove(path)
	mode := map[byte]uint32{'c': unix.S_IFCHR, 'b': unix.S_IFBLK}[kind]
	if err := unix.Mknod(path, mode|0o666, int(dev)); err != nil {
		return "mknod " + err.Error()
	}
	if access == "m" {
		return "ok"
	}
	flags := map[string]int{"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR}[access]
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return "denied"
	}
	if err == nil {
		_ = unix.Close(fd)
	}
	return "ok" // whether there is such a device does not matter
}

// A helper is a running helper program.
type helper struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// kill ends the program and waits for that.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// newHelper starts a helper program in g (nil: where the test is), as a launcher would. When the test ends it is
// killed.
func newHelper(t testing.TB, g *Group, args ...string) *helper {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Args = args
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.SysProcAttr = &syscall.SysProcAttr{}
	if g != nil {
		if dir, ok := g.Dir(); ok {
			c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, int(dir.Fd())
		}
	}
	require.NoError(t, c.Start())
	h := &helper{t: t, cmd: c, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	require.Equal(t, "ready", h.line())
	if g != nil {
		if _, ok := g.Dir(); !ok {
			require.NoError(t, g.Add(c.Process.Pid))
		}
	}
	return h
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

// say writes a line to the program.
func (h *helper) say(line string) {
	h.t.Helper()
	_, err := io.WriteString(h.in, line+"\n")
	require.NoError(h.t, err)
}

// line reads a line from the program; "" when it ended.
func (h *helper) line() string {
	line, err := h.out.ReadString('\n')
	if err != nil {
		return ""
	}
	return line[:len(line)-1]
}

// wait waits until the program ends, and returns the signal that ended it.
func (h *helper) wait() syscall.Signal {
	h.t.Helper()
	for h.line() != "" {
	}
	_ = h.cmd.Wait()
	return h.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

// newManager detects, as tests that change groups need it: as root.
func newManager(t testing.TB) *Manager {
	t.Helper()
	testenv.RequireRoot(t)
	m, err := Detect()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// newGroup creates a group that is removed, with the processes in it killed, when the test ends.
func newGroup(t testing.TB, m *Manager, r *Resources) *Group {
	t.Helper()
	g, err := m.Create(testenv.CgroupName(t), r)
	require.NoError(t, err)
	cleanGroup(t, g)
	return g
}

func cleanGroup(t testing.TB, g *Group) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, g.Kill(ctx))
		require.NoError(t, g.Remove())
		require.NoError(t, g.Close())
		for _, path := range g.Paths() {
			require.NoDirExists(t, path)
		}
	})
}
