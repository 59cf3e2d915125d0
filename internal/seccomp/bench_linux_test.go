package seccomp

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// linear is the default profile as a plain list of comparisons, one a syscall, without ranges: the simplest filter
// with the same verdicts on the machine's own ABI, for the calls that depend on no argument.
func linear(t testing.TB, p *specs.LinuxSeccomp) Filter {
	var f Filter
	add := func(code uint16, jt, jf uint8, k uint32) {
		f = binary.LittleEndian.AppendUint16(f, code)
		f = append(f, jt, jf)
		f = binary.LittleEndian.AppendUint32(f, k)
	}
	own := machines()[runtime.GOARCH][0]
	add(opLoad, 0, 0, offsetArch)
	add(opJumpEqual, 1, 0, abiFacts[own].audit)
	add(opReturn, 0, 0, uint32(retKillThread))
	add(opLoad, 0, 0, offsetNumber)
	seen := map[string]bool{}
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if n, ok := numberOf(name, own); ok && !seen[name] && s.Action == specs.ActAllow {
				add(opJumpEqual, 0, 1, n)
				add(opReturn, 0, 0, uint32(retAllow))
				seen[name] = true
			}
		}
	}
	add(opReturn, 0, 0, uint32(retErrno|eperm))
	require.NoError(t, check(f))
	return f
}

func BenchmarkCompileDefault(b *testing.B) {
	for b.Loop() {
		p, err := DefaultProfile(&Target{Capabilities: dockerCapabilities})
		require.NoError(b, err)
		_, err = Compile(p, nil)
		require.NoError(b, err)
	}
}

func BenchmarkDefaultCached(b *testing.B) {
	for b.Loop() {
		_, _ = Default(dockerCapabilities, false)
	}
}

// BenchmarkKernel measures, in processes of their own and in turns, the installation of the tree and of the linear
// filter, and what a syscall costs under each: one that the kernel knows to be always allowed, and one that it has to
// run the filter for.
func BenchmarkKernel(b *testing.B) {
	p, err := DefaultProfile(&Target{Capabilities: dockerCapabilities})
	require.NoError(b, err)
	tree, err := Compile(p, nil)
	require.NoError(b, err)
	filters := map[string]Filter{"tree": tree, "linear": linear(b, p), "none": nil}
	names := []string{"none", "tree", "linear"}
	results := map[string][3][]float64{}
	for range b.N {
		for _, name := range names {
			cmd := program(b, "measure")
			cmd.Stdin = strings.NewReader(string(filters[name]))
			out, err := cmd.Output()
			require.NoError(b, err)
			var v [3]float64
			_, err = fmt.Sscan(string(out), &v[0], &v[1], &v[2])
			require.NoError(b, err)
			r := results[name]
			for i := range v {
				r[i] = append(r[i], v[i])
			}
			results[name] = r
		}
	}
	for _, name := range names {
		for i, what := range []string{"install-us", "allowed-ns", "denied-ns"} {
			v := results[name][i]
			slices.Sort(v)
			b.ReportMetric(v[len(v)/2], name+"-"+what)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// measure installs the filter on its input and prints the microseconds that took, and the nanoseconds of a getppid
// and of a keyctl.
func measure([]string) int {
	runtime.LockOSThread()
	f := make(Filter, MaxInstructions*instructionSize)
	n, _ := os.Stdin.Read(f)
	f = f[:n]
	start := time.Now()
	if n > 0 {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return 1
		}
		start = time.Now()
		if _, _, errno := seccompFilter(f, FlagSpecAllow); errno != 0 {
			return 1
		}
	}
	installed := time.Since(start)
	loop := func(number uintptr) float64 {
		const rounds = 200_000
		start := time.Now()
		for range rounds {
			_, _, _ = unix.RawSyscall(number, ^uintptr(0), 0, 0)
		}
		return float64(time.Since(start)) / rounds
	}
	fmt.Println(float64(installed)/1000, loop(unix.SYS_GETPPID), loop(unix.SYS_KEYCTL))
	return 0
}
