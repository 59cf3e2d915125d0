package dockerapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerExec(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "bg", "--network", "none", "-e", "A=own", "busybox", "sleep", "1000")
	require.Equal(t, "own given /tmp 7\n", p.docker("exec", "-e", "B=given", "-w", "/tmp", "-u", "7", "bg", "sh", "-c", "echo $A $B $PWD $(id -u)"))
	out, stderr, err := p.try("exec", "bg", "sh", "-c", "echo out; echo err >&2; exit 5")
	require.ErrorContains(t, err, "exit status 5")
	require.Equal(t, []string{"out\n", "err\n"}, []string{out, stderr})
	c := p.command("exec", "-i", "bg", "sh", "-c", "cat; echo end")
	c.Stdin = strings.NewReader(strings.Repeat("a line\n", 10000))
	got, err := c.Output()
	require.NoError(t, err)
	require.True(t, strings.Repeat("a line\n", 10000)+"end\n" == string(got), "%d bytes", len(got))
	require.Contains(t, p.docker("exec", "-t", "bg", "sh", "-c", "test -t 1 && echo terminal"), "terminal")
	p.docker("exec", "-d", "bg", "touch", "/made")
	p.awaitEvent("exec_die")
	p.fails(127, "exec", "bg", "nothing")
	p.fails(126, "exec", "bg", "/etc")
	p.fails(127, "exec", "-w", "/nothing", "bg", "true")
	p.fails(127, "exec", "-w", "/etc/passwd", "bg", "true")
	out, _, err = p.try("exec", "-u", "unknown", "bg", "true")
	require.ErrorContains(t, err, "exit status 126")
	require.Contains(t, out, "no matching entries in passwd file")
	require.Contains(t, p.fails(1, "exec", "nobody", "true"), "No such container: nobody")
	p.docker("stop", "-t", "0", "bg")
	require.Contains(t, p.fails(1, "exec", "bg", "true"), "is not running")
}
