package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestForegroundKilled: when a minidocker is killed that runs a container in the foreground, that ends, and so do those that take part in it.
func TestForegroundKilled(t *testing.T) {
	h := newHost(t)
	c, _ := h.start("--name", "fg", "-i", h.image, "sh", "-c", "echo ready; sleep 600")
	inside := h.cmd("exec", "fg", "sh", "-c", "echo inside; sleep 600")
	parts := map[*exec.Cmd]int{h.cmd("logs", "-f", "fg"): 0, h.cmd("attach", "--no-stdin", "fg"): 137, h.cmd("wait", "fg"): 0, inside: 137}
	text := make(map[*exec.Cmd]*strings.Builder)
	for p := range parts {
		text[p] = &strings.Builder{}
		p.Stdout = text[p]
		if p == inside {
			p.Stdout = nil
		}
	}
	out, err := inside.StdoutPipe()
	require.NoError(t, err)
	for p := range parts {
		require.NoError(t, p.Start())
	}
	b := make([]byte, 7)
	_, err = out.Read(b)
	require.NoError(t, err)
	require.Equal(t, "inside\n", string(b))
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	for p, code := range parts {
		_ = p.Wait()
		if strings.Contains(strings.Join(p.Args, " "), "attach") && p.ProcessState.ExitCode() == 1 {
			continue // it came too late
		}
		require.Equal(t, code, p.ProcessState.ExitCode(), "%v", p.Args)
	}
	require.Equal(t, "ready\n", h.output("logs", "fg"))
	require.Equal(t, "137\n", h.output("wait", "fg"))
	h.output("rm", "fg")
}
