package cgroups

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNames holds what names may look like beside regular expressions that say the same.
func TestNames(t *testing.T) {
	samples := []string{
		"", "a", "a.b", "memory.high", "hugetlb.2MB.max", "Memory.high", "1a.b", "_a.b", "a1_.B", "a..b", "a.", ".a", "a.b/c", "a.b-c", "a b", "é.a",
		"2MB", "1GB", "64KB", "0KB", "02MB", "MB", "2M", "2B", "2MMB", "999999KB", "1000000KB", "2MBB", "2MB\n", "x.scope", `a\x2db@:-_.slice`, "a/b", "a\x00",
	}
	for _, x := range []struct {
		is   func(string) bool
		like string
	}{
		{controlFile, `^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)+$`},
		{hugepageSize, `^[1-9][0-9]{0,5}[KMG]B$`},
		{unitName, `^[A-Za-z0-9:_.\\@-]+$`},
	} {
		re := regexp.MustCompile(x.like)
		for _, s := range samples {
			require.Equal(t, re.MatchString(s), x.is(s), "%s: %q", x.like, s)
		}
	}
}
