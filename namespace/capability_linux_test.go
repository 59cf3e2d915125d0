package namespace

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLastCapabilityProbe(t *testing.T) {
	require.Equal(t, probeLastCapability(), LastCapability())
}
