package helloworld

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runner returns a command that runs the program on this machine, by emulation if need be.
func runner(t *testing.T, arch, text string) *exec.Cmd {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("running a Linux program needs Linux")
	}
	program, err := Program(arch, text)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "hello")
	require.NoError(t, os.WriteFile(path, program, 0o755))
	if arch == runtime.GOARCH {
		return exec.Command(path)
	}
	emulator := map[string]string{"arm64": "qemu-aarch64-static", "amd64": "qemu-x86_64-static"}[arch]
	if _, err := exec.LookPath(emulator); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v", emulator, err)
		}
		t.Skipf("running %s code needs %s", arch, emulator)
	}
	return exec.Command(emulator, path)
}

func TestProgram(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			for name, text := range map[string]string{
				"greeting": Greeting(arch),
				"byte":     "x",
				"longest":  strings.Repeat("0123456789abcde\n", 0xffff/16),
			} {
				t.Run(name, func(t *testing.T) {
					c := runner(t, arch, text)
					var errout bytes.Buffer
					c.Stderr = &errout
					out, err := c.Output()
					require.NoError(t, err, errout.String())
					require.Equal(t, text, string(out))
				})
			}
		})
	}
}

// A reader that takes a little at a time makes the kernel write less than asked.
func TestProgramShortWrites(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			text := strings.Repeat("0123456789abcde\n", 0xffff/16)
			c := runner(t, arch, text)
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			c.Stdout = w
			require.NoError(t, c.Start())
			require.NoError(t, w.Close())
			var out bytes.Buffer
			_, err = io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{r}, make([]byte, 77))
			require.NoError(t, err)
			require.NoError(t, c.Wait())
			require.Equal(t, text, out.String())
		})
	}
}

func TestProgramWriteFails(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			c := runner(t, arch, "text")
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			require.NoError(t, err)
			defer full.Close()
			c.Stdout = full
			var exit *exec.ExitError
			require.ErrorAs(t, c.Run(), &exit)
			require.Equal(t, 1, exit.ExitCode())
		})
	}
}

func TestProgramIsSmallAndStatic(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		program, err := Program(arch, Greeting(arch))
		require.NoError(t, err)
		require.Less(t, len(program), 1024)
		f, err := elf.NewFile(bytes.NewReader(program))
		require.NoError(t, err)
		libraries, err := f.ImportedLibraries()
		require.NoError(t, err)
		require.Empty(t, libraries)
		for _, p := range f.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type)
			require.NotEqual(t, elf.PF_W|elf.PF_X, p.Flags&(elf.PF_W|elf.PF_X))
		}
	}
}

func TestProgramRefuses(t *testing.T) {
	_, err := Program("riscv64", "x")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	for _, text := range []string{"", strings.Repeat("x", 0x10000)} {
		_, err := Program("amd64", text)
		require.Error(t, err)
	}
}
