package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// startShared starts a container in the foreground of e that others take part in.
func startShared(t *testing.T, e *Engine, cfg *Config, o *StartOptions) *Run {
	t.Helper()
	cfg.Image, cfg.Network = pullBusybox(t, e), "none"
	c, err := e.Create(t.Context(), cfg)
	require.NoError(t, err)
	o.Shared = true
	r, err := e.Start(t.Context(), c.ID, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = r.Process().Kill()
		_ = r.Wait(context.Background())
	})
	return r
}

func logOf(t *testing.T, e *Engine, id string) string {
	t.Helper()
	log, err := e.Log(t.Context(), id)
	require.NoError(t, err)
	defer log.Close()
	text := ""
	for {
		f, err := log.Next()
		if errors.Is(err, io.EOF) {
			return text
		}
		require.NoError(t, err)
		text += string(f.Data)
	}
}

// TestShared: a container in the foreground of one engine is entered, fed, followed, held, changed and waited for by another one.
func TestShared(t *testing.T) {
	testenv.ReapOrphans(t)
	e := newEngine(t)
	other, err := Open(t.Context(), e.Root(), nil)
	require.NoError(t, err)
	defer other.Close()
	in, typed := io.Pipe()
	var out bytes.Buffer
	r := startShared(t, e, &Config{OpenStdin: true, Command: []string{"sh", "-c", "cat; echo over >&2; exit 3"}}, &StartOptions{Stdin: in, Stdout: &out})
	id := r.Container().ID

	a, err := other.Adopt(t.Context(), id)
	require.NoError(t, err)
	state := a.Container().State
	require.True(t, state.Shared && state.Kept() && !state.Detached)
	got, err := a.Process().Command("echo", "entered").Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "entered\n", string(got))
	_, err = io.WriteString(typed, "own\n")
	require.NoError(t, err)
	log, err := other.Log(t.Context(), id)
	require.NoError(t, err)
	defer log.Close()
	f, err := log.Follow(t.Context())
	require.NoError(t, err)
	require.Equal(t, "own\n", string(f.Data))
	w, err := a.Process().Input(t.Context())
	require.NoError(t, err)
	_, err = w.WriteString("others\n")
	require.NoError(t, err)
	f, err = log.Follow(t.Context())
	require.NoError(t, err)
	require.Equal(t, "others\n", string(f.Data))
	require.NoError(t, other.Pause(t.Context(), id))
	require.True(t, mustInspect(t, e, r.Container()).State.Paused)
	require.NoError(t, other.Unpause(t.Context(), id))
	require.NoError(t, other.Rename(t.Context(), id, "renamed"))
	require.NoError(t, other.Update(t.Context(), id, &Update{PidsLimit: 77}))

	require.NoError(t, typed.Close())
	require.NoError(t, w.Close())
	code := make(chan int, 1)
	go func() {
		n, _ := other.WaitFor(context.Background(), id)
		code <- n
	}()
	var exit *container.ExitError
	require.ErrorAs(t, r.Wait(t.Context()), &exit)
	require.Equal(t, 3, exit.Code)
	require.ErrorAs(t, a.Wait(t.Context()), &exit)
	require.Equal(t, 3, exit.Code)
	require.Equal(t, 3, <-code)
	require.Equal(t, "own\nothers\n", out.String())
	require.Equal(t, "own\nothers\nover\n", logOf(t, other, id))
	c := mustInspect(t, e, r.Container())
	require.Equal(t, "renamed", c.Name)
	require.EqualValues(t, 77, c.Config.PidsLimit)
	require.Equal(t, 3, c.State.ExitCode)

	// Its next start goes on with the log, in background, too.
	again(t, e, c)
	b, err := other.Adopt(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, b.Process().CloseInput(t.Context()))
	require.Error(t, b.Wait(t.Context()))
	require.Equal(t, "own\nothers\nover\nover\n", logOf(t, e, id))
}

// TestSharedStops: another engine stops it, held or not, and removes it.
func TestSharedStops(t *testing.T) {
	e := newEngine(t)
	other, err := Open(t.Context(), e.Root(), nil)
	require.NoError(t, err)
	defer other.Close()
	r := startShared(t, e, &Config{Command: []string{"sleep", "600"}}, &StartOptions{})
	id := r.Container().ID
	require.NoError(t, other.Pause(t.Context(), id))
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(context.Background()) }()
	require.NoError(t, other.Stop(t.Context(), id, 0))
	require.Equal(t, 137, ExitCode(<-waited))
	require.NoError(t, other.Remove(t.Context(), id, nil))
}

// TestSharedRemoved: the log of one that is removed at its end is followed to that.
func TestSharedRemoved(t *testing.T) {
	e := newEngine(t)
	r := startShared(t, e, &Config{AutoRemove: true, OpenStdin: true, Command: []string{"sh", "-c", "cat; echo last"}}, &StartOptions{})
	id := r.Container().ID
	log, err := e.Log(t.Context(), id)
	require.NoError(t, err)
	defer log.Close()
	text := make(chan string)
	go func() {
		var all strings.Builder
		for {
			f, err := log.Follow(context.Background())
			if err != nil {
				text <- all.String()
				return
			}
			all.Write(f.Data)
		}
	}()
	a, err := e.Adopt(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, a.Process().CloseInput(t.Context()))
	require.NoError(t, r.Wait(t.Context()))
	require.NoError(t, a.Wait(t.Context()))
	require.Equal(t, "last\n", <-text)
	_, err = e.Inspect(t.Context(), id)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestNoLogDriver: nothing is kept, in the foreground and in background, and who asks for it is told why; commands are executed all the same.
func TestNoLogDriver(t *testing.T) {
	testenv.ReapOrphans(t)
	e := newEngine(t)
	var out bytes.Buffer
	r := startShared(t, e, &Config{LogDriver: "none", OpenStdin: true, Command: []string{"sh", "-c", "echo seen; cat"}}, &StartOptions{Stdout: &out})
	c := r.Container()
	a, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, a.Process().Command("true").Run(t.Context()))
	require.NoError(t, a.Process().CloseInput(t.Context()))
	require.NoError(t, r.Wait(t.Context()))
	require.NoError(t, a.Wait(t.Context()))
	require.Equal(t, "seen\n", out.String())
	_, err = e.Log(t.Context(), c.ID)
	require.ErrorContains(t, err, "does not support reading")
	again(t, e, c)
	b, err := e.Adopt(t.Context(), c.ID)
	require.NoError(t, err)
	require.NoError(t, b.Process().CloseInput(t.Context()))
	require.NoError(t, b.Wait(t.Context()))
	require.NoFileExists(t, filepath.Join(e.keepDir(c.ID), "log"))
	_, err = e.Create(t.Context(), &Config{Image: c.Config.Image, LogDriver: "none", LogOptions: map[string]string{"max-size": "1m"}})
	require.ErrorContains(t, err, "the log driver none")
}

// TestSharedFails: where the files for others cannot be made the container is not started, and can be later.
func TestSharedFails(t *testing.T) {
	e := newEngine(t)
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Network: "none", Command: []string{"true"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(e.keepDir(c.ID), nil, 0o600))
	_, err = e.Start(t.Context(), c.ID, &StartOptions{Shared: true})
	require.Error(t, err)
	require.NoError(t, os.Remove(e.keepDir(c.ID)))
	c, err = e.Create(t.Context(), &Config{Image: c.Config.Image, Network: "none", Command: []string{"nosuch"}})
	require.NoError(t, err)
	for range 2 {
		_, err = e.Start(t.Context(), c.ID, &StartOptions{Shared: true})
		var start *container.StartError
		require.ErrorAs(t, err, &start)
	}
}
