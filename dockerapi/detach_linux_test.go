package dockerapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
)

// TestDetach: a client types the keys that it has named, and its connection ends while what it was connected with goes on.
func TestDetach(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	client := p.client()
	p.docker("run", "-d", "-i", "-t", "--name", "bg", "--network", "none", "busybox", "cat")
	p.answerOf(client, "POST", "/containers/bg/attach?stream=1&stdin=1&detachKeys=ctrl-", "", 400)
	p.answerOf(client, "POST", "/containers/bg/exec", `{"Cmd":["cat"],"DetachKeys":"xy"}`, 400)
	var made container.ExecCreateResponse
	require.NoError(t, json.Unmarshal(p.answerOf(client, "POST", "/containers/bg/exec",
		`{"Cmd":["cat"],"Tty":true,"AttachStdin":true,"AttachStdout":true,"DetachKeys":"x,y"}`, 201), &made))
	for action, ask := range map[string][2]string{
		"detach": {"/containers/bg/attach?stream=1&stdin=1&stdout=1&detachKeys=x,y", ""}, "exec_detach": {"/exec/" + made.ID + "/start", `{"Tty":true}`},
	} {
		c, err := net.Dial("unix", p.socket)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", ask[0], len(ask[1]), ask[1])
		require.NoError(t, err)
		var seen strings.Builder
		for b := make([]byte, 1); !strings.HasSuffix(seen.String(), "\r\n\r\n"); seen.Write(b) {
			_, err := io.ReadFull(c, b)
			require.NoError(t, err)
		}
		_, err = io.WriteString(c, "typed\n")
		require.NoError(t, err)
		for b := make([]byte, 1); strings.Count(seen.String(), "typed") < 2; seen.Write(b) { // the terminal's echo, and cat's
			_, err := io.ReadFull(c, b)
			require.NoError(t, err)
		}
		_, err = io.WriteString(c, "xy")
		require.NoError(t, err)
		_, err = io.Copy(&seen, c)
		require.NoError(t, err, action)
		require.NotContains(t, seen.String(), "x\r")
		require.NoError(t, c.Close())
		p.awaitEvent(action)
	}
	require.Equal(t, "true\n", p.docker("inspect", "-f", "{{.State.Running}}", "bg"))
	require.Contains(t, string(p.answerOf(client, "GET", "/exec/"+made.ID+"/json", "", 200)), `"Running":true`)
	require.Regexp(t, `(?m)^\S+Z  typed`, p.docker("logs", "-t", "--details", "bg"))
	require.Regexp(t, `(?m)^ typed`, p.docker("logs", "--details", "bg"))
	p.docker("stop", "-t", "0", "bg")
	for query, want := range map[string]string{"logs=1&stdout=1": "typed\r\ntyped\r\n", "stdout=1": ""} {
		require.Equal(t, want, string(p.answerOf(client, "POST", "/containers/bg/attach?"+query, "", 200)), query)
	}
}
