package dockerapi

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
)

// TestServeEnds: what is under way does not keep Serve from ending, and Serve at one address does not wait for what is under way at another.
func TestServeEnds(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("run", "-d", "--name", "stubborn", "--network", "none", "busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	p.awaitLog("stubborn", "ready\n")
	live := p.command("events")
	require.NoError(t, live.Start())
	defer func() {
		_ = live.Process.Kill()
		_ = live.Wait()
	}()
	made, err := p.client().Post("http://x/containers/stubborn/exec", "application/json", strings.NewReader(`{"Cmd":["sleep","1000"]}`))
	require.NoError(t, err)
	var exec container.ExecCreateResponse
	require.NoError(t, json.NewDecoder(made.Body).Decode(&exec))
	require.NoError(t, made.Body.Close())
	for _, path := range []string{
		"/containers/stubborn/restart?t=-1", "/containers/stubborn/stop?t=-1", "/containers/stubborn/wait", "/exec/" + exec.ID + "/start",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		socket := filepath.Join(t.TempDir(), "s")
		l, err := Listen(ctx, "unix://"+socket, nil)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- p.s.Serve(ctx, l) }()
		events, err := p.e.OpenEvents(time.Time{})
		require.NoError(t, err)
		c, err := net.Dial("unix", socket)
		require.NoError(t, err)
		_, err = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		require.NoError(t, err)
		if strings.HasSuffix(path, "wait") {
			_, err = c.Read(make([]byte, 1)) // the answer's head
		} else {
			_, err = events.Next(t.Context()) // the first signal
		}
		require.NoError(t, err)
		cancel()
		require.NoError(t, <-served, path)
		require.NoError(t, c.Close())
		require.NoError(t, events.Close())
	}
	require.Equal(t, "true\n", p.docker("inspect", "-f", "{{.State.Running}}", "stubborn"))
}

// TestExecsAreForgotten: commands that are never started take no more memory than is allowed.
func TestExecsAreForgotten(t *testing.T) {
	var e execs
	running := &execution{id: "running", base: t.Context(), started: true}
	e.add(running)
	begin := time.Now()
	for i := range 3 * maxExecs {
		e.add(&execution{id: string(rune(i + 1)), made: begin.Add(time.Duration(i))})
	}
	require.Len(t, e.all, maxExecs)
	big := []string{strings.Repeat("x", maxExecBytes/10)}
	for i := range 30 {
		e.add(&execution{id: "big" + string(rune(i+1)), made: begin.Add(time.Hour + time.Duration(i)), config: container.ExecCreateRequest{Cmd: big, Env: big}})
	}
	require.LessOrEqual(t, e.bytes, maxExecBytes)
	require.Greater(t, e.bytes, maxExecBytes/2)
	require.Equal(t, running, e.all["running"])
	sum := 0
	for _, x := range e.all {
		sum += x.size()
	}
	require.Equal(t, sum, e.bytes)
}

// TestNoRedirection: a path that is almost one that is there leads nowhere.
func TestNoRedirection(t *testing.T) {
	s := &Server{}
	for _, path := range []string{"/images", "/v1.44/images/", "/distribution", "/containers", "/exec", "/build/x/", "/swarm/"} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			w := ask(t, s, method, path, nil)
			require.Contains(t, []int{http.StatusNotFound, http.StatusNotImplemented}, w.Code, "%s %s: %s", method, path, w.Body)
		}
	}
}
