package container_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/kernel"
)

// loadProfile loads the AppArmor profile caisson-test of testdata, which apparmor.profile says in words, until the test's end.
func loadProfile(t *testing.T) {
	t.Helper()
	if err := kernel.AppArmor.Err(); err != nil {
		t.Skip(err)
	}
	policy, err := os.ReadFile("testdata/apparmor.bin")
	require.NoError(t, err)
	fs := t.TempDir()
	require.NoError(t, syscall.Mount("securityfs", fs, "securityfs", 0, ""))
	require.NoError(t, os.WriteFile(filepath.Join(fs, "apparmor/.load"), policy, 0))
	t.Cleanup(func() {
		require.NoError(t, os.WriteFile(filepath.Join(fs, "apparmor/.remove"), []byte("caisson-test"), 0))
		require.NoError(t, syscall.Unmount(fs, 0))
	})
}

// TestAppArmor: the container, and what is executed in it, are under the profile, and cannot do what it denies, root and with all
// capabilities; without it they can.
func TestAppArmor(t *testing.T) {
	loadProfile(t)
	const current = "/proc/self/attr/apparmor/current"
	newOne := func(args ...string) *container.Container {
		c := newContainer(t, args...)
		require.NoError(t, os.WriteFile(filepath.Join(c.Root.String(), "secret"), []byte("secret\n"), 0o644))
		return c
	}
	out, err := newOne("read", current, "/secret").Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "unconfined\nsecret\n", string(out))

	for _, privileged := range []bool{false, true} {
		c := newOne("read", current, "/secret")
		c.AppArmor, c.Privileged = "caisson-test", privileged
		out, err = c.Output(t.Context())
		require.Error(t, err)
		require.Equal(t, "caisson-test (enforce)\nopen /secret: permission denied\n", string(out))
	}

	// A command gets the container's, or names it again.
	c := newOne("sleep", "60s")
	c.AppArmor = "caisson-test"
	require.NoError(t, c.Start(t.Context()))
	defer func() {
		_ = c.Kill()
		_ = c.Wait(t.Context())
	}()
	out, err = c.Command("read", current, "/secret").Output(t.Context())
	require.Error(t, err)
	require.Equal(t, "caisson-test (enforce)\nopen /secret: permission denied\n", string(out))
	p := c.Command("read", current)
	p.AppArmor = "unconfined"
	out, err = p.Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "unconfined", strings.TrimSpace(string(out)), "the host program says so")
}

// TestAppArmorUnknown: a profile that is not loaded is an error that names the field and what to do, before anything starts.
func TestAppArmorUnknown(t *testing.T) {
	c := newContainer(t, "echo")
	c.AppArmor = "caisson-no-such-profile"
	err := c.Start(t.Context())
	var start *container.StartError
	require.ErrorAs(t, err, &start)
	require.Contains(t, start.Path, "AppArmor")
	if kernel.AppArmor.Err() == nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		require.ErrorContains(t, err, "caisson-no-such-profile")
		require.ErrorContains(t, err, "apparmor_parser")
		require.Equal(t, "check", start.Step)
	}
}
