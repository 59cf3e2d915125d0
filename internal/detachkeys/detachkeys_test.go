package detachkeys

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"": "", Default: "\x10\x11", "a": "a", "ctrl-@,ctrl-a,ctrl-z": "\x00\x01\x1a", `ctrl-[,ctrl-\,ctrl-],ctrl-^,ctrl-_`: "\x1b\x1c\x1d\x1e\x1f", "-": "-", "DEL": "\x7f",
	} {
		keys, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, string(keys), text)
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ctrl-A", "ab", "a,,b", ",", "ä", strings.Repeat("a,", 16) + "a", strings.Repeat("ctrl-a,", 1<<20), "del"} {
		_, err := Parse(text)
		require.ErrorContains(t, err, "invalid detach keys", text)
	}
}

// Whatever the pieces that the keys come in, all that was typed before them is returned, and nothing of what follows.
func TestReader(t *testing.T) {
	for _, c := range []struct {
		keys, typed, want string
		found             bool
	}{
		{"pq", "one pq two", "one ", true}, {"pq", "ppq", "p", true}, {"pq", "p p", "p p", false}, {"pq", "", "", false}, {"pq", "pq", "", true},
		{"aab", "aaaab", "aa", true}, {"abab", "abaabab", "aba", true}, {"abac", "ababac!", "ab", true}, {"", "pq", "pq", false},
	} {
		for _, pieces := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader, func(r io.Reader) io.Reader { return r }} {
			r := &Reader{R: pieces(strings.NewReader(c.typed)), Keys: []byte(c.keys)}
			got, err := io.ReadAll(iotest.OneByteReader(r))
			require.Equal(t, c.want, string(got), "%+v", c)
			require.Equal(t, c.found, errors.Is(err, ErrDetached), "%+v: %v", c, err)
			if c.found {
				_, err = r.Read(make([]byte, 1))
				require.ErrorIs(t, err, ErrDetached)
			}
		}
	}
}
