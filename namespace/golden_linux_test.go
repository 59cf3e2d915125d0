package namespace

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDefaultListing holds what a container with Docker's defaults is started by, step by step.
func TestDefaultListing(t *testing.T) {
	if err := kernel.MountSetattr.Err(); err != nil {
		t.Skip(err) // the listing is another one
	}
	testenv.RequireRoot(t) // and so it is without
	l := defaultLaunch(Dir("/srv/rootfs"), "echo", "hello")
	l.Env = []string{"PATH=/usr/bin:/bin", "TERM=xterm"}
	golden(t, l, "testdata/default.golden")
}

func golden(t *testing.T, l *Launch, file string) {
	t.Helper()
	p, err := l.Program()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(p.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	have, lines := strings.Split(p.String(), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(have), len(lines)) {
		require.Equal(t, lines[i], have[i], "%s:%d; -update writes it anew", file, i+1)
	}
	require.Len(t, have, len(lines))
}
