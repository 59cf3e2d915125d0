package word

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIs(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": true, "Z9": true, "_": true, "_a_": true, "-": false, "-a": false, "a-": false, "a-b": true, "a--b.c": true, "a\x00b": false,
		"a b": false, "é": false, "aéb": false, "a\n": false,
	} {
		require.Equal(t, want, Is(s, "_", "-."), "%q", s)
	}
}

func TestNumber(t *testing.T) {
	for s, want := range map[string]bool{"": false, "0": true, "0123456789": true, "-1": false, "1.0": false, "a": false, "1a1": false} {
		require.Equal(t, want, Number(s), "%q", s)
	}
}

// FuzzIs compares it with a regular expression.
func FuzzIs(f *testing.F) {
	f.Add("host-1.example_")
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`).MatchString(s), Is(s, "_", ".-"), "%q", s)
	})
}
