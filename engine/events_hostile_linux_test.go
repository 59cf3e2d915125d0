package engine

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEventsOfAnySize: no event, and nothing that is in the file, keeps those after it from being read.
func TestEventsOfAnySize(t *testing.T) {
	e := newEngine(t)
	r, err := e.OpenEvents(time.Time{})
	require.NoError(t, err)
	defer r.Close()
	e.Note(ContainerEvent, "exec_create: "+strings.Repeat("<", 4<<20), strings.Repeat("i", 1<<20), map[string]string{"name": strings.Repeat("é", 1<<20)})
	ev, err := r.TryNext()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(ev.Action, "exec_create: <<<<"))
	st, err := os.Stat(e.eventsPath("log"))
	require.NoError(t, err)
	require.LessOrEqual(t, st.Size(), int64(maxEvent))

	// What another program, or a loss of power, left there: a line without an end, one that is endless, one that is no event.
	for _, left := range []string{`{"Time":`, strings.Repeat("x", 3*maxEvents), "\x00\x00\n\n", "null\n[]\n7\n"} {
		f, err := os.OpenFile(e.eventsPath("log"), os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = f.WriteString(left)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		e.Note(VolumeEvent, "create", "next", nil)
		require.Equal(t, []string{"volume create"}, actions(t, r), "%.10q", left)
	}

	// A file that somebody has cut off.
	require.NoError(t, os.Truncate(e.eventsPath("log"), 0))
	e.Note(VolumeEvent, "create", "next", nil)
	require.Equal(t, []string{"volume create"}, actions(t, r))
}
