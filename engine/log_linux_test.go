package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLogGoesOn: what a container has printed is there after it was started again, and after it could not be; what it has printed since
// its last start can be told from that.
func TestLogGoesOn(t *testing.T) {
	e := newEngine(t)
	source := filepath.Join(t.TempDir(), "source")
	require.NoError(t, os.Mkdir(source, 0o755))
	c := detached(t, e, &Config{Network: "none", Mounts: []Mount{{Type: "bind", Source: source, Target: "/from"}}}, "echo one; cat /from/*; rm -f /from/*")
	end := func() {
		_, err := e.WaitFor(t.Context(), c.ID)
		require.NoError(t, err)
	}
	all := func() string {
		r, err := e.Log(t.Context(), c.ID)
		require.NoError(t, err)
		return rest(t, r)
	}
	end()
	before := all()
	require.Contains(t, before, "one\n")
	require.Equal(t, before, everything(t, e, c.ID))

	require.NoError(t, os.WriteFile(filepath.Join(source, "two"), []byte("two\n"), 0o600))
	again(t, e, c)
	end()
	require.Equal(t, before+"one\ntwo\n", all())
	require.Equal(t, "one\ntwo\n", everything(t, e, c.ID))

	require.NoError(t, os.Remove(source))
	_, err := e.Start(t.Context(), c.ID, &StartOptions{Detach: true})
	require.ErrorContains(t, err, "source")
	require.Equal(t, before+"one\ntwo\n", all())
	require.Equal(t, "one\ntwo\n", everything(t, e, c.ID))
}
