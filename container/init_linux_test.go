package container_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["orphans"] = orphans }

// orphans leaves children to process 1, waits until they have ended, and prints its own number and what is left of them.
func orphans([]string) int {
	for range 5 {
		p, err := os.StartProcess("/bin/linger", []string{"linger", "10ms"},
			&os.ProcAttr{Env: []string{}, Files: []*os.File{nil, os.Stderr, os.Stderr}})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		_, _ = p.Wait()
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := 0
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, name := range stats {
			b, _ := os.ReadFile(name)
			if bytes.Contains(b, []byte("(sleep)")) {
				left++
			}
		}
		if left == 0 || time.Now().After(deadline) {
			fmt.Println("pid", os.Getpid(), "left", left)
			return 0
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestInitReaps(t *testing.T) {
	c := newContainer(t, "orphans")
	c.Init = true
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "pid 2 left 0\n", string(out))
}

func TestInitStatus(t *testing.T) {
	for arg, code := range map[string]int{"0": 0, "42": 42, "-9": 137, "-15": 143} {
		c := newContainer(t, "exit", arg)
		c.Init = true
		err := c.Run(t.Context())
		var exit *container.ExitError
		if code == 0 {
			require.NoError(t, err)
			continue
		}
		require.True(t, errors.As(err, &exit), "%v", err)
		require.Equal(t, code, exit.Code, arg)
		require.Zero(t, exit.Signal)
	}
}

func TestInitForwards(t *testing.T) {
	c := newContainer(t, "trap", "ignore")
	c.Init = true
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGQUIT} {
		require.NoError(t, c.Signal(s))
		require.True(t, lines.Scan())
		require.Equal(t, "got "+s.String(), lines.Text())
	}
	// The command sees the end of the output that init does not hold open.
	require.NoError(t, c.Kill())
	_, err = io.ReadAll(out)
	require.NoError(t, err)
	require.Error(t, c.Wait(t.Context()))
}

// The command is in the foreground of its terminal, and ^C reaches it once.
func TestInitTTY(t *testing.T) {
	c := newContainer(t, "tty")
	c.Init, c.TTY, c.TTYSize = true, true, namespace.WinSize{Rows: 10, Cols: 20}
	c.Stdin = strings.NewReader("hello\n")
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(out), "line hello")

	c = newContainer(t, "spin")
	c.Init, c.TTY = true, true
	r, w := io.Pipe()
	defer w.Close()
	c.Stdin = r
	go func() {
		time.Sleep(100 * time.Millisecond)
		_, _ = w.Write([]byte{3})
	}()
	var exit *container.ExitError
	require.True(t, errors.As(c.Run(t.Context()), &exit))
	require.Equal(t, 130, exit.Code)
}

func TestInitFails(t *testing.T) {
	c := newContainer(t, "nosuch")
	c.Init = true
	var start *container.StartError
	require.True(t, errors.As(c.Run(t.Context()), &start))
	require.Equal(t, "execve", start.Step)

	c = newContainer(t, "echo")
	c.Init, c.Namespaces.PID.Host = true, true
	require.True(t, errors.As(c.Run(t.Context()), &start))
	require.Equal(t, "Init", start.Path)
}
