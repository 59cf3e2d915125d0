package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSELinuxPolicy: the policy is compiled from its source.
func TestSELinuxPolicy(t *testing.T) {
	RequireCommand(t, "secilc")
	binary := filepath.Join(t.TempDir(), "policy")
	out, err := exec.Command("secilc", "-M", "true", "-c", "31", "-o", binary, "-f", os.DevNull, "testdata/selinux.cil").CombinedOutput()
	require.NoError(t, err, string(out))
	want, err := os.ReadFile(binary)
	require.NoError(t, err)
	require.Equal(t, want, selinuxPolicy)
}
