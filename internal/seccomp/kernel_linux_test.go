package seccomp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, map[string]testenv.Program{"filtered": filtered, "measure": measure})
}

// install loads a filter into all threads of the process.
func install(f Filter, flags uint) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	_, _, errno := seccompFilter(f, flags|FlagTSync)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

func seccompFilter(f Filter, flags uint) (uintptr, uintptr, unix.Errno) {
	prog := unix.SockFprog{Len: uint16(f.Len()), Filter: (*unix.SockFilter)(unsafe.Pointer(&f[0]))}
	r1, r2, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags),
		uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
	return r1, r2, errno
}

// A request is what the helper program is to do; it answers with one errno a call.
type request struct {
	Filter Filter
	Calls  []call
}

type call struct {
	ABI    string // "", "i386", "x32"
	Number uintptr
	Args   [3]uintptr
}

// filtered loads a filter and then makes the calls.
func filtered([]string) int {
	var r request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if len(r.Filter) > 0 {
		if err := install(r.Filter, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// The calls are made on a thread of their own: the verdict KILL_THREAD ends no more than that, and what of the Go runtime it has.
	runtime.GOMAXPROCS(2)
	thread, done := make(chan int, 1), make(chan []int, 1)
	go func() {
		runtime.LockOSThread()
		thread <- unix.Gettid()
		var results []int
		for _, c := range r.Calls {
			var errno unix.Errno
			if c.ABI == "i386" {
				errno = interrupt80(c.Number, c.Args)
			} else {
				_, _, errno = unix.Syscall(c.Number, c.Args[0], c.Args[1], c.Args[2])
			}
			results = append(results, int(errno))
		}
		done <- results
	}()
	task := fmt.Sprint("/proc/self/task/", <-thread)
	for {
		select {
		case results := <-done:
			_ = json.NewEncoder(os.Stdout).Encode(results)
			return 0
		case <-time.After(10 * time.Millisecond):
			// A process's first thread stays as a zombie while others live.
			if stat, err := os.ReadFile(task + "/stat"); err != nil || strings.Contains(string(stat), ") Z ") {
				fmt.Fprintln(os.Stderr, "thread ended")
				return 3
			}
		}
	}
}

// program returns a command that runs the test binary as one of the helper programs.
func program(t testing.TB, name string) *exec.Cmd {
	path := filepath.Join(t.TempDir(), name)
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, path))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path)
}

// try runs the calls under the filter, or without one if it is empty, and returns their errors.
func try(t *testing.T, f Filter, calls ...call) ([]unix.Errno, error) {
	in, err := json.Marshal(request{f, calls})
	require.NoError(t, err)
	cmd := program(t, "filtered")
	cmd.Stdin = strings.NewReader(string(in))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %.300s", err, stderr.String())
	}
	var results []unix.Errno
	require.NoError(t, json.Unmarshal(out, &results))
	return results, nil
}

// TestKernelDefault tries, on the running kernel, what the default profile is to keep containers from.
func TestKernelDefault(t *testing.T) {
	testenv.RequireRoot(t)
	f, err := Default(dockerCapabilities, false)
	require.NoError(t, err)
	wants := []struct {
		what string
		call call
		want unix.Errno
	}{
		{"getpid", call{Number: unix.SYS_GETPID}, 0},
		{"socket AF_ALG", call{Number: unix.SYS_SOCKET, Args: [3]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}}, unix.EPERM},
		{"socket AF_VSOCK", call{Number: unix.SYS_SOCKET, Args: [3]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM, 0}}, unix.EPERM},
		{"socket AF_UNIX", call{Number: unix.SYS_SOCKET, Args: [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM, 0}}, 0},
		{"unshare", call{Number: unix.SYS_UNSHARE, Args: [3]uintptr{unix.CLONE_NEWUSER}}, unix.EPERM},
		{"clone NEWUSER", call{Number: unix.SYS_CLONE, Args: [3]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}}, unix.EPERM},
		{"clone3", call{Number: unix.SYS_CLONE3}, unix.ENOSYS},
		{"keyctl", call{Number: unix.SYS_KEYCTL, Args: [3]uintptr{0, ^uintptr(2), 0}}, unix.EPERM},
		{"mount", call{Number: unix.SYS_MOUNT}, unix.EPERM},
		{"fsopen", call{Number: unix.SYS_FSOPEN}, unix.EPERM},
		{"bpf", call{Number: unix.SYS_BPF}, unix.EPERM},
		{"io_uring_setup", call{Number: unix.SYS_IO_URING_SETUP}, unix.EPERM},
		{"personality, another", call{Number: unix.SYS_PERSONALITY, Args: [3]uintptr{0x0040000}}, unix.EPERM},
		{"personality, ask", call{Number: unix.SYS_PERSONALITY, Args: [3]uintptr{0xffffffff}}, 0},
		{"a syscall that is not there", call{Number: 1000}, unix.ENOSYS},
	}
	calls := make([]call, len(wants))
	for i, w := range wants {
		calls[i] = w.call
	}
	got, err := try(t, f, calls...)
	require.NoError(t, err)
	for i, w := range wants {
		require.Equal(t, w.want, got[i], w.what)
	}
}

// TestKernelI386 makes calls by int $0x80, with the numbers of i386.
func TestKernelI386(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("int $0x80 is amd64's")
	}
	const getpid, mount, socket, socketcall = 20, 21, 359, 102
	if !i386Works(t) {
		t.Skip("the kernel is built without IA32_EMULATION")
	}
	f, err := Default(dockerCapabilities, false)
	require.NoError(t, err)
	got, err := try(t, f,
		call{"i386", getpid, [3]uintptr{}},
		call{"i386", mount, [3]uintptr{}},
		call{"i386", socket, [3]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET}},
		call{"i386", socket, [3]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM}},
		call{"i386", socket, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
		call{"i386", socketcall, [3]uintptr{1, 0}},
		call{"i386", socketcall, [3]uintptr{4, 0}}, // listen, whose arguments at address 0 fault
	)
	require.NoError(t, err)
	require.Equal(t, []unix.Errno{0, unix.EPERM, unix.EPERM, unix.EPERM, 0, unix.ENOSYS, unix.EFAULT}, got)
	if f, err = Default(dockerCapabilities, true); err == nil {
		got, err = try(t, f, call{"i386", socketcall, [3]uintptr{1, 0}})
	}
	require.NoError(t, err)
	require.Equal(t, []unix.Errno{unix.EFAULT}, got)

	// A profile that forbids AF_ALG and allows all else keeps socketcall from making any socket.
	e := uint(unix.EACCES)
	f, err = Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86},
		Syscalls: []specs.LinuxSyscall{{
			Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: &e,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: unix.AF_ALG, Op: specs.OpEqualTo}},
		}},
	}, nil)
	require.NoError(t, err)
	got, err = try(t, f,
		call{"i386", socketcall, [3]uintptr{1, 0}},
		call{"i386", socketcall, [3]uintptr{4, 0}}, // listen, whose arguments at address 0 fault
		call{"i386", socket, [3]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
	)
	require.NoError(t, err)
	require.Equal(t, []unix.Errno{unix.EACCES, unix.EFAULT, 0}, got)
}

func i386Works(t *testing.T) bool {
	got, err := try(t, nil, call{ABI: "i386", Number: 20})
	return err == nil && got[0] == 0
}

// TestKernelArchitecture leaves i386 out of the profile: the call kills.
func TestKernelArchitecture(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("int $0x80 is amd64's")
	}
	f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, nil)
	require.NoError(t, err)
	_, err = try(t, f, call{Number: unix.SYS_GETPID})
	require.NoError(t, err)
	_, err = try(t, f, call{Number: x32Bit | unix.SYS_GETPID})
	require.ErrorContains(t, err, "thread ended")
	if i386Works(t) {
		_, err = try(t, f, call{ABI: "i386", Number: 20})
		require.ErrorContains(t, err, "thread ended")
	}
}

// TestKernelVerdicts installs a filter with each action and looks what the kernel does.
func TestKernelVerdicts(t *testing.T) {
	for action, want := range map[specs.LinuxSeccompAction]string{
		specs.ActAllow: "", specs.ActLog: "", specs.ActErrno: "", specs.ActTrace: "",
		specs.ActKillProcess: "bad system call", specs.ActTrap: "SIGSYS", specs.ActKill: "thread ended",
		specs.ActKillThread: "thread ended",
	} {
		def := specs.ActAllow
		if action == specs.ActAllow {
			def = specs.ActLog
		}
		f, err := Compile(&specs.LinuxSeccomp{
			DefaultAction: def,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"getppid", "gettid"}, Action: action, Args: []specs.LinuxSeccompArg{
				{Index: 0, Value: 0xab00, ValueTwo: 0x1200, Op: specs.OpMaskedEqual},
				{Index: 2, Value: 5, Op: specs.OpLessEqual},
			}}},
		}, nil)
		require.NoError(t, err)
		got, err := try(t, f, call{Number: unix.SYS_GETPPID, Args: [3]uintptr{0x1200, 0, 6}},
			call{Number: unix.SYS_GETPPID, Args: [3]uintptr{0x1300, 0, 1}})
		require.NoError(t, err)
		require.Equal(t, []unix.Errno{0, 0}, got, action)
		got, err = try(t, f, call{Number: unix.SYS_GETPPID, Args: [3]uintptr{0x5200, 0, 5}})
		if want != "" {
			require.ErrorContains(t, err, want, action)
			continue
		}
		require.NoError(t, err, action)
		code := map[specs.LinuxSeccompAction]unix.Errno{specs.ActErrno: unix.EPERM, specs.ActTrace: unix.ENOSYS}[action]
		require.Equal(t, []unix.Errno{code}, got, action)
	}
}

// interrupt80 makes a call by int $0x80. The code is in memory of its own: Go's register convention hands over the
// number, first and second argument where i386 wants them.
func interrupt80(number uintptr, args [3]uintptr) unix.Errno {
	code := []byte{
		0x31, 0xd2, // xor edx, edx
		0xcd, 0x80, // int $0x80
		0x48, 0x63, 0xc0, // movsxd rax, eax
		0xc3, // ret
	}
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
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
	f := *(*func(number, first, second uintptr) int)(unsafe.Pointer(&value))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if r := f(number, args[0], args[1]); r < 0 {
		return unix.Errno(-r)
	}
	return 0
}
