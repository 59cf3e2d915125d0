package namespace

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLastCapability(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(b)), strconv.Itoa(int(LastCapability())))
}
