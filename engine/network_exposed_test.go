package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/network"
)

// TestExposeAll: an image that exposes all ports there are costs what they are, not their square: that took minutes.
func TestExposeAll(t *testing.T) {
	image := make(map[string]struct{})
	for _, protocol := range []string{"tcp", "udp", "sctp"} {
		for port := 1; port < 1<<16; port++ {
			image[fmt.Sprintf("%d/%s", port, protocol)] = struct{}{}
		}
	}
	c := &Container{Config: Config{PublishAll: true, Expose: []string{"80", "443-444/tcp"}}}
	for port := 1; port < 1<<16; port += 4 {
		c.Config.Ports = append(c.Config.Ports, network.Port{Host: uint16(port), Container: uint16(port)})
	}
	start := time.Now()
	require.NoError(t, c.expose(image))
	require.Less(t, time.Since(start), time.Minute)
	require.Len(t, c.Exposed, len(image))
	require.Len(t, c.Ports, len(image))
	require.Equal(t, []string{"1/sctp", "1/tcp", "1/udp", "2/sctp"}, c.Exposed[:4])
}
