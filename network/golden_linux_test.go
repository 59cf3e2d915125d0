package network

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden compares the tables, as nft lists them, with a file. What is old in each pair of names becomes new.
func golden(t *testing.T, host *machine, name string, names ...string) {
	t.Helper()
	text := host.command("nft", "--stateless", "list", "table", "inet", "caisson") +
		host.command("nft", "--stateless", "list", "table", "bridge", "caisson")
	text = sorted(strings.NewReplacer(names...).Replace(text))
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text)
}

var elementList = regexp.MustCompile(`(?s)elements = \{ (.*?) \}`)

// sorted sorts the elements of each set: their order is that of the kernel's hash.
func sorted(text string) string {
	return elementList.ReplaceAllStringFunc(text, func(list string) string {
		all := regexp.MustCompile(`,\s+`).Split(elementList.FindStringSubmatch(list)[1], -1)
		slices.Sort(all)
		return "elements = { " + strings.Join(all, ", ") + " }"
	})
}
