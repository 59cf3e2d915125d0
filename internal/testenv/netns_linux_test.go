package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewNetns(t *testing.T) {
	path := NewNetns(t)
	RequireCommand(t, "nsenter")
	out, err := exec.Command("nsenter", "--net="+path, "cat", "/proc/net/dev").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, 1, strings.Count(string(out), ":"), string(out))
	own, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	other, err := os.Readlink(path)
	require.NoError(t, err)
	require.NotEqual(t, own, other)
}
