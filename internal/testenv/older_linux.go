package testenv

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/thread"
)

// A Denied is a system call that an older kernel, which a test has the running one play, refuses.
type Denied struct {
	Call uint32
	// Arg is the argument that the kernel would look at, from 0 on: its low 32 bits masked by Mask are compared with Value.
	// A zero Mask stands for every call.
	Arg         int
	Mask, Value uint32
	// Errno is the answer; zero stands for ENOSYS.
	Errno syscall.Errno
}

// DeniedCalls are calls that answer ENOSYS.
func DeniedCalls(calls ...uint32) []Denied {
	denied := make([]Denied, len(calls))
	for i, nr := range calls {
		denied[i].Call = nr
	}
	return denied
}

// RunOnOlderKernel runs a command, all of whose processes get the errors of denied, by a seccomp filter. It takes root, so that the
// command may still execute what gives it privilege.
func RunOnOlderKernel(cmd *exec.Cmd, denied []Denied) error {
	return thread.Run(func() error {
		if err := deny(denied); err != nil {
			return err
		}
		return cmd.Run()
	})
}

// OnOlderKernel runs the test's own function in another process that gets the errors of denied, and returns true in that
// process only.
func OnOlderKernel(t testing.TB, denied []Denied) bool {
	t.Helper()
	return Again(t, func(cmd *exec.Cmd) error { return RunOnOlderKernel(cmd, denied) })
}

// Again runs the test's own function in another process, by a command that run changes and runs, and returns true in that
// process only. The error of run fails the test.
func Again(t testing.TB, run func(cmd *exec.Cmd) error) bool {
	t.Helper()
	const env = "CAISSON_TEST_AGAIN"
	if os.Getenv(env) == t.Name() {
		return true
	}
	self, err := os.Executable()
	must(t, err)
	static, err := staticSelf()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	// It makes a folder for temporary files beside ours.
	cmd.Env = append(os.Environ(), env+"="+t.Name(), "TMPDIR="+filepath.Dir(os.TempDir()), staticEnv+"="+static)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = run(cmd)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("in the other process:\n%s", out.String())
	}
	return false
}

// deny loads the filter for this thread, and what it starts.
func deny(denied []Denied) error {
	var f []byte
	add := func(code uint16, jt, jf uint8, k uint32) {
		f = binary.NativeEndian.AppendUint16(f, code)
		f = binary.NativeEndian.AppendUint32(append(f, jt, jf), k)
	}
	const number, args = 0, 16 // of struct seccomp_data
	for _, d := range denied {
		errno := d.Errno
		if errno == 0 {
			errno = unix.ENOSYS
		}
		add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, number)
		if d.Mask == 0 {
			add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, d.Call)
		} else {
			add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 4, d.Call)
			add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, uint32(args+8*d.Arg))
			add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, d.Mask)
			add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, d.Value)
		}
		add(unix.BPF_RET|unix.BPF_K, 0, 0, 0x00050000|uint32(errno))
	}
	add(unix.BPF_RET|unix.BPF_K, 0, 0, 0x7fff0000)
	prog := struct {
		n int16
		f *byte
	}{int16(len(f) / 8), &f[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
