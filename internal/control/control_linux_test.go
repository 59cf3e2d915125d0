package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, map[string]testenv.Program{"call": func(args []string) int {
		var answer string
		err := Call(context.Background(), args[1], "x", &answer)
		if errors.Is(err, ErrNobody) {
			answer = "nobody answers"
		}
		fmt.Println(answer)
		return 0
	}})
}

// serve answers what it is told with what the file that came with it has.
func serve(t *testing.T, path string) *Server {
	s, err := Listen(path)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(func(document []byte, files []*os.File) any {
			var text string
			if err := json.Unmarshal(document, &text); err != nil {
				return err.Error()
			}
			for _, f := range files {
				b, _ := io.ReadAll(f)
				text += " " + string(b)
			}
			return text
		})
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return s
}

func TestCall(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "socket")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	var answer string
	require.ErrorIs(t, Call(t.Context(), path, "x", &answer), ErrNobody)
	require.False(t, There(t.Context(), path))
	s := serve(t, path)
	require.True(t, There(t.Context(), path))
	require.NoError(t, Call(t.Context(), path, "alone", &answer))
	require.Equal(t, "alone", answer)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	_, err = w.WriteString("from a pipe")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	big := strings.Repeat("x", 1<<20)
	require.NoError(t, Call(t.Context(), path, big, &answer, r))
	require.Equal(t, big+" from a pipe", answer)
	require.NoError(t, r.Close())

	// The socket that a killed process left is replaced, and nobody answers at it before.
	require.NoError(t, s.l.Close())
	require.ErrorIs(t, Call(t.Context(), path, "x", &answer), ErrNobody)
	serve(t, path)
	require.NoError(t, Call(t.Context(), path, "again", &answer))
	require.Equal(t, "again", answer)
	require.ErrorIs(t, Call(t.Context(), path, strings.Repeat("x", maxMessage+1), &answer), ErrNobody)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Call(ctx, path, "x", &answer), context.Canceled)
}

// TestOthersAreTurnedAway: a process of another user gets no answer, whatever the modes of the files.
func TestOthersAreTurnedAway(t *testing.T) {
	testenv.RequireRoot(t)
	u := testenv.NewUser(t, false)
	path := filepath.Join(u.Home, "socket")
	serve(t, path)
	require.NoError(t, os.Chmod(path, 0o777))
	c := u.Command(t, "call", path)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "nobody answers\n", string(out))
}
