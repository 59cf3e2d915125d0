package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/volume"
)

// TestDriverOptions: options that nobody wrote are those that a volume like it would be made with.
func TestDriverOptions(t *testing.T) {
	for _, options := range [][]string{nil, {"size=1048576"}, {"type=none", "o=bind,ro", "device=/srv"}, {"type=tmpfs", "o=size=1m", "device=tmpfs"}} {
		o, err := VolumeOptions("local", nil, options)
		require.NoError(t, err)
		v := &volume.Volume{Size: o.Size, Mount: o.Mount}
		require.Equal(t, o.Options, DriverOptions(v))
		v.Options = map[string]string{"size": "1M"}
		require.Equal(t, v.Options, DriverOptions(v), "as they were written")
	}
	v := &volume.Volume{Labels: map[string]string{"a": "b"}}
	require.Equal(t, v.Labels, VolumeLabels(v))
	v.Anonymous = true
	require.Equal(t, map[string]string{"a": "b", AnonymousVolume: ""}, VolumeLabels(v))
	require.Len(t, v.Labels, 1)
}
