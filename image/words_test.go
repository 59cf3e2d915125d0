package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWords: how long the words of a platform and the beginning of an ID may be.
func TestWords(t *testing.T) {
	for s, ok := range map[string]bool{
		"linux/amd64": true, "linux/" + strings.Repeat("a", 64): true, "linux/" + strings.Repeat("a", 65): false, "linux//v8": false,
		"linux/a b": false, "-/.": true, "linux/é": false,
	} {
		_, err := parsePlatform(s)
		require.Equal(t, ok, err == nil, "%q: %v", s, err)
	}
	store := openStore(t, t.TempDir())
	for _, s := range []string{"abc", "abcg", "ABCD", strings.Repeat("a", 129)} {
		_, err := store.Get(t.Context(), s, nil)
		require.True(t, errors.Is(err, ErrNotFound), "%q: %v", s, err)
	}
}
