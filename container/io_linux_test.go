package container_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

func TestStdinReader(t *testing.T) {
	c := newContainer(t, "cat")
	text := strings.Repeat("all of it\n", 100000)
	c.Stdin = strings.NewReader(text)
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, text, string(out))
}

func TestStdinNilIsNull(t *testing.T) {
	out, err := newContainer(t, "cat").Output(t.Context())
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestStdinNotRead(t *testing.T) {
	c := newContainer(t, "exit", "0")
	c.Stdin = strings.NewReader(strings.Repeat("nobody reads this", 100000))
	require.NoError(t, c.Run(t.Context()))
}

func TestFilesPassThrough(t *testing.T) {
	c := newContainer(t, "cat")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), []byte("from a file"), 0o600))
	in, err := os.Open(filepath.Join(dir, "in"))
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	defer out.Close()
	c.Stdin, c.Stdout = in, out
	require.NoError(t, c.Run(t.Context()))
	got, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	require.Equal(t, "from a file", string(got))
	_, err = out.WriteString("still open")
	require.NoError(t, err)
}

func TestPipes(t *testing.T) {
	c := newContainer(t, "cat")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	_, err = c.StdoutPipe()
	require.EqualError(t, err, "container: Stdout already set")
	require.NoError(t, c.Start(t.Context()))
	_, err = c.StderrPipe()
	require.EqualError(t, err, "container: StderrPipe after process started")
	_, err = io.WriteString(in, "there and back")
	require.NoError(t, err)
	require.NoError(t, in.Close())
	got, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Equal(t, "there and back", string(got))
	require.NoError(t, c.Wait(t.Context()))
	_, err = out.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestPipesClosedWhenStartFails(t *testing.T) {
	c := newContainer(t, "nothing")
	in, err := c.StdinPipe()
	require.NoError(t, err)
	require.Error(t, c.Start(t.Context()))
	_, err = in.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestOutputKeepsStderr(t *testing.T) {
	c := newContainer(t, "errors", "100000")
	out, err := c.Output(t.Context())
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.Code)
	require.EqualError(t, err, "exit status 3")
	require.Len(t, out, 100000)
	text := string(exit.Stderr)
	require.True(t, strings.HasPrefix(text, "begin eee"))
	require.True(t, strings.HasSuffix(text, "eee end"))
	require.Contains(t, text, "\n... 34474 bytes left out ...\n")
}

func TestCombinedOutput(t *testing.T) {
	c := newContainer(t, "errors", "2")
	out, err := c.CombinedOutput(t.Context())
	require.Error(t, err)
	require.Equal(t, "oobegin ee end", string(out))
	_, err = c.CombinedOutput(t.Context())
	require.EqualError(t, err, "container: Stdout already set")
}

func TestSameWriterIsUsedByOneGoroutine(t *testing.T) {
	c := newContainer(t, "errors", "50000")
	var both bytes.Buffer // not safe for two
	c.Stdout, c.Stderr = &both, &both
	require.Error(t, c.Run(t.Context()))
	require.Equal(t, 100000+len("begin  end"), both.Len())
}

type brokenWriter struct{}

var errBroken = errors.New("the writer is broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestCopyError(t *testing.T) {
	c := newContainer(t, "echo", "hello")
	c.Stdout = brokenWriter{}
	require.ErrorIs(t, c.Run(t.Context()), errBroken)
}

func TestExtraFiles(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	c := newContainer(t, "fds")
	c.ExtraFiles = []*os.File{r, w}
	out, err := c.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "0\n1\n2\n3\n4\n", string(out), "and no other descriptor")
}

func TestPipesAreTheUsers(t *testing.T) {
	c := newContainer(t, "write", "/dev/stdout", "by its name")
	c.User = "1000"
	out, err := c.Output(t.Context())
	require.NoError(t, err, "%s", out)
	require.Equal(t, "by its name", string(out))
}

// A daemon in the container's namespaces holds the pipe of a command that has ended.
func TestWaitDelay(t *testing.T) {
	c := newContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	defer func() { _ = c.Wait(context.Background()) }()
	defer func() { _ = c.Kill() }()
	p := c.Command("linger", "1m")
	p.WaitDelay = 50 * time.Millisecond
	start := time.Now()
	out, err := p.Output(t.Context())
	require.ErrorIs(t, err, container.ErrWaitDelay)
	require.True(t, strings.HasPrefix(string(out), "left\n"))
	require.Less(t, time.Since(start), 30*time.Second)

	q := c.Command("linger", "300ms")
	start = time.Now()
	out, err = q.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "left\nsleeping\n", string(out))
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
}

func TestWaitContextEndsTheWaitingForPipes(t *testing.T) {
	c := newContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	defer func() { _ = c.Wait(context.Background()) }()
	defer func() { _ = c.Kill() }()
	p := c.Command("linger", "300ms")
	p.Stdout = &bytes.Buffer{}
	require.NoError(t, p.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Wait(ctx), context.DeadlineExceeded)
	require.Nil(t, p.State)
	require.NoError(t, p.Wait(t.Context()))
	require.Equal(t, "left\nsleeping\n", p.Stdout.(*bytes.Buffer).String())
}
