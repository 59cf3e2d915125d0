package engine

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestValidName holds names against what Docker's regular expressions say of them.
func TestValidName(t *testing.T) {
	name := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$`)
	alias := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}$`)
	for _, s := range []string{
		"", "a", "_a", "-a", ".a", "a_", "a-", "a.", "Z9", "a b", "a/b", "é", "aé", "a\n", "a\x00",
		strings.Repeat("a", 253), strings.Repeat("a", 254), strings.Repeat("a", 255), strings.Repeat("a", 256),
	} {
		require.Equal(t, name.MatchString(s), validName(s), "%q", s)
		_, _, err := cutLink("web:" + s)
		if s != "" && !strings.Contains(s, "/") { // of a path the last part is the alias
			require.Equal(t, alias.MatchString(s), err == nil, "%q", s)
		}
	}
}
