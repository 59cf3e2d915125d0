package dockerapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDetachKeys(t *testing.T) {
	for text, want := range map[string]string{"": "\x10\x11", "ctrl-a,x,DEL": "\x01x\x7f"} {
		keys, err := parseDetachKeys(text)
		require.NoError(t, err, text)
		require.Equal(t, want, string(keys), text)
	}
	for _, wrong := range []string{",", "ctrl-A", strings.Repeat("a,", 1<<20) + "b"} {
		_, err := parseDetachKeys(wrong)
		var refused *httpError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, 400, refused.code)
		require.Less(t, len(err.Error()), 1000)
	}
}
