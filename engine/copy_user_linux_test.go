package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

// TestRootNowhere: a container whose root this program's user namespace does not have gets no files, and the error says who has.
func TestRootNowhere(t *testing.T) {
	testenv.RequireRoot(t)
	ids := []namespace.IDMapping{{HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 10}}
	d, err := namespace.NewDeputy(t.Context(), ids, ids)
	require.NoError(t, err)
	defer d.Close()
	c := &Container{}
	c.UIDMappings = []container.IDMapping{{HostID: 200000, Size: 10}}
	c.GIDMappings = []container.IDMapping{{HostID: 100003, Size: 10}}
	uid, gid := c.ownerOfDeputy(d)(0, 0)
	require.Equal(t, [2]int{nowhere, 4}, [2]int{uid, gid})
	require.EqualError(t, c.rootNowhere(d), "the container's root is user 200000 and group 100003 of the host: "+
		"this program has users 1000 to 1000, 100000 to 100009 and groups 1000 to 1000, 100000 to 100009")
}
