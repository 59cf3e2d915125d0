package layer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"": "", ".": "", "./": "", "/": "", "//": "", "a": "a", "/a": "a", "//a//b/": "a/b", "./a/./b": "a/b",
		"a/../b": "b",
		"/a/..":  "", "..a/b": "..a/b", "a/..b": "a/..b", "...": "...", `a\b`: `a\b`, strings.Repeat("a",
			maxName): strings.Repeat("a", maxName),
	} {
		got, err := cleanName(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for name, want := range map[string]error{
		"..": errOutside, "../a": errOutside, "/..": errOutside, "a/../..": errOutside, "a/../../b": errOutside,
		"a\x00b":                       errNUL,
		strings.Repeat("a", maxName+1): errLongName,
	} {
		_, err := cleanName(name)
		require.ErrorIs(t, err, want, name)
	}
}

func TestIsMeta(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": false, ".wh.a": false, ".wh..wh..opq": false, "a/.wh..wh..opq": false, ".wh..wh.plnk": true,
		".wh..wh.plnk/a": true, "a/.wh..wh.orph/b": true, ".wh..wh..opq/a": true, "a.wh..wh.": false,
	} {
		require.Equal(t, want, isMeta(name), name)
	}
}

func TestWhiteoutName(t *testing.T) {
	for base, want := range map[string]string{"a": "", "wh.a": "", ".wh": "", ".wh.a": "a", ".wh..a": ".a",
		".wh..wh.a": ".wh.a"} {
		name, opaque, err := whiteout(base)
		require.NoError(t, err)
		require.False(t, opaque)
		require.Equal(t, want, name)
	}
	_, opaque, err := whiteout(whiteoutOpaque)
	require.NoError(t, err)
	require.True(t, opaque)
	for _, base := range []string{".wh.", ".wh..", ".wh..."} {
		_, _, err := whiteout(base)
		require.ErrorIs(t, err, errWhiteout)
	}
}

func TestXattrName(t *testing.T) {
	for name, want := range map[string]string{
		"user.a": "user.a", "user.overlay.opaque": "user.overlay.overlay.opaque", "user.overlayed": "user.overlayed",
		"trusted.overlay.redirect":         "trusted.overlay.overlay.redirect",
		"trusted.overlay.overlay.opaque":   "trusted.overlay.overlay.overlay.opaque",
		"trusted.overlay.":                 "trusted.overlay.overlay.",
		"trusted.a":                        "trusted.a",
		"security.capability":              "security.capability",
		"security.selinux":                 "",
		"security.SMACK64EXEC":             "",
		"system.posix_acl_access":          "system.posix_acl_access",
		"system.posix_acl_default":         "system.posix_acl_default",
		"system.nfs4_acl":                  "",
		"com.apple.provenance":             "",
		"user":                             "",
		"user.":                            "",
		"":                                 "",
		"user.a\x00b":                      "",
		"user." + strings.Repeat("a", 251): "",
		"user.overlay." + strings.Repeat("a", 240): "",
	} {
		require.Equal(t, want, xattrName(name), name)
	}
}
