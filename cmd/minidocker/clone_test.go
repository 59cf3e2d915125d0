package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/volume"
)

// A clone has the source's labels and size where no flag says otherwise: a label alone does not lift the limit.
func TestCloneInherits(t *testing.T) {
	from := volume.Volume{Labels: map[string]string{"a": "b"}, Size: 5}
	for flags, want := range map[*volumeFlags]volume.CreateOptions{
		{driver: "local", labels: []string{"c=d"}}:     {Labels: map[string]string{"c": "d"}, Size: 5},
		{driver: "local", options: []string{"size=7"}}: {Labels: from.Labels, Options: map[string]string{"size": "7"}, Size: 7},
	} {
		o, err := flags.parse()
		require.NoError(t, err)
		inherit(o, from)
		require.Equal(t, want, *o)
	}
}
