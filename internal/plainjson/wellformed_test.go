package plainjson

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents are well-formed and not.
var documents = []string{
	"", " ", "null", "true", "false", "tru", "nullx", " 1 ", "1 2", "-", "-0", "01", "0.5", ".5", "1.", "1e", "1e5", "1E+5", "1e-05", "+1", "0x1",
	`""`, `"a`, `"\"`, `"\""`, `"\u00e9"`, `"\u00g0"`, `"\u00`, `"\x"`, "\"\t\"", "\"\x7f\xff\"", "{}", "[]", "{]", "[}", "[1,]", "[,1]",
	"[1,2]", "[1 2]", `{"a":1}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, ` { "a" : [ { } , null ] } `, "[", "{", `{"a"`,
	`{"a":`, `[[`, "[]]", "\x00", "1\x00", "[1,2]\n\t\r ", "\ufeff1", "'a'", "NaN", `{"a":1}}`, `{1:2}`,
}

func TestWellFormed(t *testing.T) {
	for _, s := range documents {
		require.Equal(t, json.Valid([]byte(s)), wellFormed(s), "%q", s)
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	require.True(t, wellFormed(nested(maxDepth)))
	require.False(t, wellFormed(nested(maxDepth+1)), "it is left to encoding/json")
}

func FuzzWellFormed(f *testing.F) {
	for _, s := range documents {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := wellFormed(s), json.Valid([]byte(s)); got != want && (got || strings.Count(s, "[")+strings.Count(s, "{") <= maxDepth) {
			t.Errorf("%q: %v, json.Valid says %v", s, got, want)
		}
	})
}
