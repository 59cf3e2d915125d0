package container_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() {
	programs["namespace"] = func(args []string) int {
		l, err := os.Readlink("/proc/self/ns/" + args[1])
		fmt.Println(l, err)
		return 0
	}
}

// TestJoinedNamespaceOfEachKind joins a container's namespaces, one at a time, by the container and by path; user namespaces are
// joined in TestJoinedUserNamespacePipes.
func TestJoinedNamespaceOfEachKind(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	first := newContainer(t, "trap")
	first.TimeOffsets = &namespace.TimeOffsets{Monotonic: time.Hour}
	ready(t, first)
	for kind, of := range map[string]func(*namespace.Namespaces) *namespace.Namespace{
		"pid":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.PID },
		"ipc":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.IPC },
		"uts":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.UTS },
		"net":    func(n *namespace.Namespaces) *namespace.Namespace { return &n.Network },
		"cgroup": func(n *namespace.Namespaces) *namespace.Namespace { return &n.Cgroup },
		"time":   func(n *namespace.Namespaces) *namespace.Namespace { return &n.Time },
	} {
		path := fmt.Sprintf("/proc/%d/ns/%s", first.Pid(), kind)
		want, err := os.Readlink(path)
		require.NoError(t, err)
		own, err := os.Readlink("/proc/self/ns/" + kind)
		require.NoError(t, err)
		require.NotEqual(t, own, want, kind)
		byPath, err := os.Open(path)
		require.NoError(t, err)
		for _, join := range []namespace.Namespace{first.Namespace(), {Join: byPath}} {
			c := newContainer(t, "namespace", kind)
			*of(&c.Namespaces) = join
			require.Equal(t, want+" <nil>\n", output(t, c), kind)
		}
		require.NoError(t, byPath.Close())
	}
}
