package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// A runner is what os/exec and a process of ours have in common.
type runner struct {
	stdin                  *io.Reader
	stdout, stderr         *io.Writer
	delay                  *time.Duration
	start, wait, run       func() error
	stdinPipe              func() (io.WriteCloser, error)
	stdoutPipe             func() (io.ReadCloser, error)
	output, combinedOutput func() ([]byte, error)
	cancel                 context.CancelFunc
}

// runners makes the same command thrice: by os/exec, as a container, and in a container that runs.
func runners(t *testing.T) map[string]func(args ...string) *runner {
	host := newContainer(t, "sleep", "10m")
	require.NoError(t, host.Start(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, host.Kill())
		require.Error(t, host.Wait(context.Background()))
	})
	ours := func(p *container.Process, start, wait, run func(context.Context) error, output, combined func(context.Context) ([]byte, error)) *runner {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		return &runner{
			stdin: &p.Stdin, stdout: &p.Stdout, stderr: &p.Stderr, delay: &p.WaitDelay, cancel: cancel,
			start: func() error { return start(ctx) }, wait: func() error { return wait(t.Context()) },
			run: func() error { return run(ctx) }, stdinPipe: p.StdinPipe, stdoutPipe: p.StdoutPipe,
			output:         func() ([]byte, error) { return output(ctx) },
			combinedOutput: func() ([]byte, error) { return combined(ctx) },
		}
	}
	return map[string]func(args ...string) *runner{
		"os/exec": func(args ...string) *runner {
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			c := exec.CommandContext(ctx, filepath.Join(host.Root.String(), "bin", args[0]), args[1:]...)
			c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // as ours
			return &runner{
				stdin: &c.Stdin, stdout: &c.Stdout, stderr: &c.Stderr, delay: &c.WaitDelay, cancel: cancel, start: c.Start, wait: c.Wait,
				run: c.Run, stdinPipe: c.StdinPipe, stdoutPipe: c.StdoutPipe, output: c.Output, combinedOutput: c.CombinedOutput,
			}
		},
		"container": func(args ...string) *runner {
			c := newContainer(t, args...)
			return ours(&c.Process, c.Start, c.Wait, c.Run, c.Output, c.CombinedOutput)
		},
		"command": func(args ...string) *runner {
			p := host.Command(args...)
			return ours(p, p.Start, p.Wait, p.Run, p.Output, p.CombinedOutput)
		},
	}
}

// kind is what an error of either is.
func kind(err error) string {
	var ours *container.ExitError
	var theirs *exec.ExitError
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, exec.ErrWaitDelay), errors.Is(err, container.ErrWaitDelay):
		return "wait delay"
	case errors.As(err, &ours) && ours.Signal != 0:
		return "signal " + strconv.Itoa(int(ours.Signal))
	case errors.As(err, &ours):
		return "exit " + strconv.Itoa(ours.Code)
	case errors.As(err, &theirs):
		if s := theirs.Sys().(syscall.WaitStatus); s.Signaled() {
			return "signal " + strconv.Itoa(int(s.Signal()))
		}
		return "exit " + strconv.Itoa(theirs.ExitCode())
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, errBroken):
		return "broken writer"
	case errors.Is(err, os.ErrClosed):
		return "closed"
	}
	return err.Error()
}

// left is what linger prints; who it leaves behind may print before it.
func left(out []byte) string {
	if slices.Contains(strings.Fields(string(out)), "left") {
		return "left"
	}
	return string(out)
}

// cancel ends the context of the program trap when that is ready.
func cancel(t *testing.T, c *runner, delay time.Duration) string {
	*c.delay = delay
	r, w := io.Pipe()
	*c.stdout = w
	done := make(chan error, 1)
	go func() {
		done <- c.run()
		_ = w.Close()
	}()
	_, err := io.ReadFull(r, make([]byte, len("ready\n")))
	require.NoError(t, err)
	c.cancel()
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	return kind(<-done) + " " + strings.TrimSpace(string(rest))
}

// TestAsOSExec: what is seen of a command's standard files is what os/exec shows.
func TestAsOSExec(t *testing.T) {
	testenv.ReapOrphans(t)
	const big = 300_000 // more than a pipe holds
	for name, x := range map[string]struct {
		want string
		do   func(t *testing.T, get func(args ...string) *runner) string
	}{
		"output larger than the pipe": {"none 300000", func(t *testing.T, get func(...string) *runner) string {
			c := get("cat")
			*c.stdin = strings.NewReader(strings.Repeat("x", big))
			out, err := c.output()
			return kind(err) + " " + strconv.Itoa(len(out))
		}},
		"combined": {"exit 3 oobegin ee end", func(t *testing.T, get func(...string) *runner) string {
			out, err := get("errors", "2").combinedOutput()
			return kind(err) + " " + string(out)
		}},
		"one writer for both": {"exit 3 100010", func(t *testing.T, get func(...string) *runner) string {
			var b bytes.Buffer // not safe for two
			c := get("errors", "50000")
			*c.stdout, *c.stderr = &b, &b
			err := c.run()
			return kind(err) + " " + strconv.Itoa(b.Len())
		}},
		"nil": {"none", func(t *testing.T, get func(...string) *runner) string {
			c := get("cat")
			return kind(c.run())
		}},
		"a file": {"none in", func(t *testing.T, get func(...string) *runner) string {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(dir+"/in", []byte("in"), 0o600))
			in, err := os.Open(dir + "/in")
			require.NoError(t, err)
			defer in.Close()
			out, err := os.Create(dir + "/out")
			require.NoError(t, err)
			defer out.Close()
			c := get("cat")
			*c.stdin, *c.stdout, *c.stderr = in, out, out
			err = c.run()
			b, _ := os.ReadFile(dir + "/out")
			return kind(err) + " " + string(b)
		}},
		"a broken writer": {"broken writer", func(t *testing.T, get func(...string) *runner) string {
			c := get("echo", "hello")
			*c.stdout = brokenWriter{}
			return kind(c.run())
		}},
		"input that nobody reads": {"exit 4", func(t *testing.T, get func(...string) *runner) string {
			c := get("exit", "4")
			*c.stdin = strings.NewReader(strings.Repeat("x", big))
			return kind(c.run())
		}},
		"StdinPipe is closed by Wait": {"none closed", func(t *testing.T, get func(...string) *runner) string {
			c := get("exit", "0")
			in, err := c.stdinPipe()
			require.NoError(t, err)
			require.NoError(t, c.start())
			err = c.wait()
			_, err2 := in.Write([]byte("x"))
			return kind(err) + " " + kind(err2)
		}},
		"StdoutPipe is closed by Wait": {"none closed", func(t *testing.T, get func(...string) *runner) string {
			c := get("echo", "hello")
			out, err := c.stdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.start())
			err = c.wait() // though nobody has read
			_, err2 := out.Read(make([]byte, 1))
			return kind(err) + " " + kind(err2)
		}},
		"a second Start": {"true", func(t *testing.T, get func(...string) *runner) string {
			c := get("exit", "0")
			require.NoError(t, c.start())
			err := c.start()
			require.NoError(t, c.wait())
			return strconv.FormatBool(err != nil)
		}},
		"canceled, ends by itself": {"canceled got terminated", func(t *testing.T, get func(...string) *runner) string {
			return cancel(t, get("trap"), time.Minute)
		}},
		"canceled, has to be killed": {"signal 9 got terminated", func(t *testing.T, get func(...string) *runner) string {
			return cancel(t, get("trap", "ignore"), 100*time.Millisecond)
		}},
		"a grandchild holds the pipe": {"none left, waited", func(t *testing.T, get func(...string) *runner) string {
			start, lingers := time.Now(), 400*time.Millisecond
			if testenv.VM() { // where a start alone takes longer
				lingers = 5 * time.Second
			}
			out, err := get("linger", fmt.Sprintf("%.1fs", lingers.Seconds())).output()
			waited := ""
			if time.Since(start) >= lingers {
				waited = ", waited"
			}
			return kind(err) + " " + left(out) + waited
		}},
		"a grandchild holds the pipe for long": {"wait delay left", func(t *testing.T, get func(...string) *runner) string {
			c := get("linger", "1s")
			*c.delay = 50 * time.Millisecond
			out, err := c.output()
			return kind(err) + " " + left(out)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for who, get := range runners(t) {
				want := x.want
				if who == "container" && strings.HasPrefix(name, "a grandchild") {
					want = "none left" // it ends with the container's first process
				}
				require.Equal(t, want, x.do(t, get), who)
			}
		})
	}
}
