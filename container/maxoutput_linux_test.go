package container_test

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
)

func init() { programs["flood"] = flood }

// flood prints n bytes to standard output and as many to standard error, one in turn, and without an n for ever.
func flood(args []string) int {
	n := -1
	if len(args) > 1 {
		n, _ = strconv.Atoi(args[1])
	}
	block := bytes.Repeat([]byte("x"), 1000)
	for n != 0 {
		b := block
		if n > 0 {
			b = b[:min(n, len(b))]
			n -= len(b)
		}
		for _, f := range []*os.File{os.Stdout, os.Stderr} {
			if _, err := f.Write(b); err != nil {
				return 1
			}
		}
	}
	return 0
}

func TestMaxOutput(t *testing.T) {
	c := newContainer(t, "flood")
	c.MaxOutput = 4321
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run(t.Context())
	require.ErrorIs(t, err, container.ErrMaxOutput)
	var exit *container.ExitError
	require.ErrorAs(t, err, &exit)
	require.Contains(t, []syscall.Signal{syscall.SIGKILL, syscall.SIGPIPE}, exit.Signal) // the other one came first
	require.Equal(t, 4321, out.Len()+errs.Len())

	// What fits is not touched, to the byte; what ends with success in spite of all is told.
	for _, n := range []int{4321, 4322} {
		c := newContainer(t, "echo", strings.Repeat("x", n-1)) // and a line break
		c.MaxOutput = 4321
		out, err := c.CombinedOutput(t.Context())
		require.Equal(t, 4321, len(out))
		if n == 4321 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, container.ErrMaxOutput)
		}
	}
}

// A command in a container is killed alone; a terminal's output is bounded, too.
func TestMaxOutputOfCommands(t *testing.T) {
	c := newContainer(t, "sleep", "1m")
	require.NoError(t, c.Start(t.Context()))
	defer func() { _ = c.Wait(context.Background()) }()
	defer func() { _ = c.Kill() }()
	for _, tty := range []bool{false, true} {
		p := c.Command("flood")
		p.MaxOutput, p.TTY = 10000, tty
		var out bytes.Buffer
		p.Stdout = &out
		require.NoError(t, p.Start(t.Context()))
		require.ErrorIs(t, p.Wait(t.Context()), container.ErrMaxOutput)
		require.Equal(t, 10000, out.Len())
	}
	require.NoError(t, c.Signal(syscall.Signal(0)), "it runs still")

	p := c.Command("echo")
	p.MaxOutput = 1
	_, err := p.StdoutPipe()
	require.NoError(t, err)
	var start *container.StartError
	require.ErrorAs(t, p.Start(t.Context()), &start)
	require.Equal(t, "MaxOutput", start.Path)
}
