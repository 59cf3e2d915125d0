package main

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
)

// TestHooksThatHang: hooks outside of the container are bounded by their time, and what they stop is undone; after a deletion they change
// nothing any more.
func TestHooksThatHang(t *testing.T) {
	m := newMade(t, "sleep")
	second := 1
	hang := []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "100"}, Timeout: &second}}
	said := func(kind string) string {
		return "hooks." + kind + "[0]: error running hook /bin/sleep: it did not end within 1 s"
	}
	//lint:ignore SA1019 callers still use it
	m.spec.Hooks = &specs.Hooks{Prestart: hang}
	m.write()
	m.fails(1, said("prestart"), "create", "c")
	require.Empty(t, m.left())

	m.spec.Hooks = &specs.Hooks{Poststart: hang}
	m.write()
	m.ok("create", "c")
	m.fails(1, said("poststart"), "start", "c")
	require.Eventually(t, func() bool { return strings.Contains(m.ok("state", "c"), `"stopped"`) }, time.Minute, 10*time.Millisecond)
	m.ok("delete", "c")
	require.Empty(t, m.left())

	m.spec.Hooks = &specs.Hooks{Poststop: hang}
	m.write()
	m.ok("create", "c")
	d := m.do("delete", "--force", "c")
	require.Zero(t, d.run())
	require.Contains(t, d.stderr.String(), said("poststop"))
	require.Empty(t, m.left())
}
