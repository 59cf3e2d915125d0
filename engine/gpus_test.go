package engine

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGPUs(t *testing.T) {
	for text, want := range map[string][]string{
		"all": {"nvidia.com/gpu=all"}, "2": {"nvidia.com/gpu=0", "nvidia.com/gpu=1"}, "device=1": {"nvidia.com/gpu=1"}, "count=1": {"nvidia.com/gpu=0"},
		`"device=1,GPU-9",capabilities=utility`: {"nvidia.com/gpu=1", "nvidia.com/gpu=GPU-9"}, "driver=amd": {"amd.com/gpu=0"},
		"driver=amd,count=all": {"amd.com/gpu=all"}, "driver=cdi,device=a.b/c=d": {"a.b/c=d"},
	} {
		g, err := ParseGPUs(text)
		require.NoError(t, err, text)
		names, err := g.CDI()
		require.NoError(t, err, text)
		require.Equal(t, want, names, text)
	}
	for _, text := range []string{"", "some", "-2", "99999", "count=1,device=1", "driver=intel", "driver=cdi", "color=red", `"device=1`} {
		_, err := ParseGPUs(text)
		require.ErrorIs(t, err, fs.ErrInvalid, text)
	}
}
