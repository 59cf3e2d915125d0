package namespace

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// runStub executes a program by itself, with output and report. Under the emulation of another architecture, which cannot
// execute what it emulates, CAISSON_STUB_RUNNER is the emulator.
func runStub(t *testing.T, p *Program, args ...string) (out string, report []byte, code int) {
	t.Helper()
	image, err := stubImage(p)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "stub")
	require.NoError(t, os.WriteFile(file, image, 0o755))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command(file, args...)
	if runner := os.Getenv("CAISSON_STUB_RUNNER"); runner != "" {
		cmd = exec.Command(runner, append([]string{file}, args...)...)
	}
	cmd.ExtraFiles = []*os.File{w}
	b, err := cmd.Output()
	require.NoError(t, w.Close())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.True(t, exit.Exited(), exit)
	} else {
		require.NoError(t, err)
	}
	report, err = io.ReadAll(r)
	require.NoError(t, err)
	return string(b), report, cmd.ProcessState.ExitCode()
}

// TestStubInstructions runs each instruction of the interpreter, each argument by value and by reference.
func TestStubInstructions(t *testing.T) {
	p := newProgram()
	p.inline = 3
	out := func(a arg) { p.call("write", unix.SYS_WRITE, num(1), a, num(1)) }

	// set, add, test and a loop: "aaa".
	letter, n := p.variable("letter", 8), p.variable("n", 8)
	loop, end := p.label(), p.label()
	p.op(opSet, num('a'-1)).to(letter)
	p.op(opAdd, letter, num(1)).to(letter)
	p.place(loop)
	out(letter.addr())
	p.op(opAdd, n, num(1)).to(n)
	p.op(opTest, n, num(3), all).goTo(end).orElse(loop, anyError)
	p.place(end)

	// test with a mask: "b".
	p.op(opTest, arg{kind: argHex, v: 0xabcd}, arg{kind: argHex, v: 0xcd}, arg{kind: argHex, v: 0xff})
	out(p.str("b"))

	// An error of a set, one that is not, all of them: "cd".
	caught, caught2, wrong := p.label(), p.label(), p.label()
	p.call("close", unix.SYS_CLOSE, num(-1)).orElse(caught, errnoSet(int(unix.EBADF), int(unix.EPERM)))
	p.op(opFail, num(1)).goTo(wrong)
	p.place(caught)
	p.op(opTest, arg{kind: argErrno}, num(int(unix.EBADF)), all)
	out(p.str("c"))
	p.call("socket", unix.SYS_SOCKET, num(77), num(0), num(0)).orElse(caught2, anyError) // EAFNOSUPPORT: above 63
	p.place(caught2)
	out(p.str("d"))

	// Six arguments by reference: the second page of a file is mapped. "e".
	var ref [6]arg
	file, page := p.variable("file", 8), p.variable("page", 8)
	p.call("openat", unix.SYS_OPENAT, num(atCWD), p.str("/proc/self/exe"), num(unix.O_RDONLY), num(0)).to(file)
	for i, v := range []arg{num(0), num(4096), num(unix.PROT_READ), num(unix.MAP_PRIVATE), file, num(4096)} {
		ref[i] = p.variable("ref", 8)
		p.op(opSet, v).to(ref[i])
	}
	p.call("mmap", unix.SYS_MMAP, ref[0], ref[1], ref[2], ref[3], ref[4], ref[5]).to(page)
	p.call("write", unix.SYS_WRITE, num(1), page, num(24))
	out(p.str("e"))

	p.call("close", unix.SYS_CLOSE, num(-1)).orElse(wrong, errnoSet(int(unix.EPERM)))
	p.place(wrong)
	out(p.str("never"))

	text, report, code := runStub(t, p)
	require.Len(t, text, 6+24+1)
	require.Equal(t, "aaabcd", text[:6])
	require.Equal(t, "e", text[30:])
	if os.Getenv("CAISSON_STUB_RUNNER") == "" { // an emulator's /proc/self/exe is its own
		require.EqualValues(t, 3, text[6+contextFD], "the context, which begins the stub's second page")
	}
	require.Equal(t, 127, code)
	require.Len(t, report, 16)
	require.Equal(t, syscall.EBADF, syscall.Errno(binary.NativeEndian.Uint64(report[8:])))
	require.Equal(t, "close", p.failed(binary.NativeEndian.Uint64(report)).name)

	_, report, code = runStub(t, p, "again")
	require.Empty(t, report)
	require.Equal(t, 126, code)
}

func TestStubReportsFailure(t *testing.T) {
	p := newProgram()
	p.inline = 3
	v := p.variable("v", 8)
	p.op(opSet, num(int(unix.ENOTTY))).to(v)
	p.op(opFail, v).about("it").name = "act"
	_, report, code := runStub(t, p)
	require.Equal(t, 127, code)
	require.Equal(t, unix.ENOTTY, syscall.Errno(binary.NativeEndian.Uint64(report[8:])))
	s := p.failed(binary.NativeEndian.Uint64(report))
	require.Equal(t, "act it", s.name+" "+s.path)
}

func TestStubExecutes(t *testing.T) {
	p := newProgram()
	p.inline = 3
	p.call("write", unix.SYS_WRITE, num(1), p.str("ok"), num(2))
	p.call("exit_group", unix.SYS_EXIT_GROUP, num(7))
	text, report, code := runStub(t, p)
	require.Equal(t, "ok", text)
	require.Empty(t, report)
	require.Equal(t, 7, code)
}
