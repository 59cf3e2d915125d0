package dockerapi

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestDetachKeys(t *testing.T) {
	for text, want := range map[string]string{"": "\x10\x11", "ctrl-a,x,DEL": "\x01x\x7f", "ctrl-@,ctrl-\\,ctrl-_": "\x00\x1c\x1f", ",": ""} {
		keys, err := parseDetachKeys(text)
		if want == "" {
			require.ErrorContains(t, err, "invalid detachKeys", text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, string(keys), text)
	}
	for _, wrong := range []string{"ctrl-", "ctrl-A", "ctrl-1", "del", "ctrl-ab", "a,,b"} {
		_, err := parseDetachKeys(wrong)
		require.ErrorContains(t, err, "invalid detachKeys", wrong)
	}
	for typed, want := range map[string]string{
		"hello": "hello|", "aab": "|detached", "xaab after": "x|detached", "aaab": "a|detached", "aa": "aa|", "ax": "ax|", "aaxaab": "aax|detached",
	} {
		var whole, slow bytes.Buffer
		err := copyUntil(&whole, strings.NewReader(typed), []byte("aab"))
		require.Equal(t, err, copyUntil(&slow, iotest.OneByteReader(strings.NewReader(typed)), []byte("aab")))
		require.Equal(t, whole.String(), slow.String())
		end := ""
		if err != nil {
			end = err.Error()
		}
		require.Equal(t, want, whole.String()+"|"+end, typed)
	}
	require.ErrorIs(t, copyUntil(&bytes.Buffer{}, iotest.ErrReader(iotest.ErrTimeout), defaultDetachKeys), iotest.ErrTimeout)
	require.NoError(t, copyUntil(&bytes.Buffer{}, strings.NewReader(""), defaultDetachKeys))
}
