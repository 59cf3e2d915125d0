package container

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNames holds what names may look like beside regular expressions that say the same.
func TestNames(t *testing.T) {
	samples := []string{
		"", "a", "1", "_", "-", ".", "a-b", "-a", "a-", "a_", "a.b.c", "a/b", "1/b", "a/1", "a/", "/b", "a-/b", "a.b/c-d", "a/b/c", "a/b.c", "a b", "a\tb",
		"é", "a\n", "0.3.0", "0.2.9", "0.9.12", "1.0.0", "1.1.0", "1.2.0", "1.1", "1.1.", "1.1.x", "x.1.1.0", "0.3.0.0", "1+kernel.core_pattern=|/x",
		"4 5\t6,7:8*/-", strings.Repeat("a", 64), strings.Repeat("a", 65),
	}
	for _, x := range []struct {
		is   func(string) bool
		like string
	}{
		{hostname, `^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$`},
		{sysctlValue, `^[A-Za-z0-9 \t_.,:/*-]*$`},
	} {
		re := regexp.MustCompile(x.like)
		for _, s := range samples {
			require.Equal(t, re.MatchString(s), x.is(s), "%s: %q", x.like, s)
		}
	}
}
