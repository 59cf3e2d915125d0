//go:build amd64 || arm64

package sigpipe

import (
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

func TestCatch(t *testing.T) {
	p, err := Catch()
	require.NoError(t, err)
	_, err = Catch()
	require.ErrorIs(t, err, ErrInUse)
	for s := syscall.Signal(1); s <= last; s++ {
		if !caught(s) {
			continue
		}
		require.NoError(t, syscall.Kill(os.Getpid(), s), s)
		got, ok := p.Next()
		require.True(t, ok)
		require.Equal(t, s, got)
	}
	p.Close()
	_, ok := p.Next()
	require.False(t, ok)
}

// TestFault: what the kernel raises for the program's own faults is Go's, before and after one that was sent.
func TestFault(t *testing.T) {
	p, err := Catch()
	require.NoError(t, err)
	defer p.Close()
	divide := func(a, b int) (err any) {
		defer func() { err = recover() }()
		return a / b
	}
	load := func(at *int) (err any) {
		defer func() { err = recover() }()
		return *at
	}
	zero := 0
	for range 3 {
		require.ErrorContains(t, divide(1, zero).(error), "divide by zero")
		require.ErrorContains(t, load(nil).(error), "nil pointer dereference")
		for _, s := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGFPE} {
			require.NoError(t, syscall.Kill(os.Getpid(), s))
			got, ok := p.Next()
			require.True(t, ok)
			require.Equal(t, s, got)
		}
	}
}

// TestBusy: signals come on threads that are in the middle of something, garbage collections and growing stacks, too.
func TestBusy(t *testing.T) {
	p, err := Catch()
	require.NoError(t, err)
	defer p.Close()
	done := make(chan struct{})
	for range 4 {
		go func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = grow(200)
					sink.Store(&[1 << 10]byte{})
					runtime.Gosched()
				}
			}
		}()
	}
	const n = 2000
	go func() {
		for range n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR2)
	}()
	for {
		s, ok := p.Next()
		require.True(t, ok)
		if s == syscall.SIGUSR2 { // some that come together are one
			break
		}
		require.Equal(t, syscall.SIGUSR1, s)
	}
	close(done)
}

var sink atomic.Pointer[[1 << 10]byte]

//go:noinline
func grow(n int) int {
	var a [64]int
	if n == 0 {
		return a[0]
	}
	a[n%64] = grow(n - 1)
	return a[n%64] + n
}

// TestClose: Go's runtime has the signals again, and none is caught that was not before, such as SIGTSTP.
func TestClose(t *testing.T) {
	before := handled(t)
	p, err := Catch()
	require.NoError(t, err)
	require.NotEqual(t, before, handled(t))
	p.Close()
	require.Equal(t, before, handled(t))
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	defer signal.Stop(c)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	select {
	case s := <-c:
		require.Equal(t, syscall.SIGUSR1, s)
	case <-time.After(time.Minute):
		t.Fatal("no signal")
	}
}

// handled is the line of /proc/self/status with the signals that have handlers.
func handled(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, line, ok := strings.Cut(string(b), "\nSigCgt:")
	require.True(t, ok)
	line, _, _ = strings.Cut(line, "\n")
	return line
}
