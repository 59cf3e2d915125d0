package peers

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// rootlessTests are those of podman that do without control groups, which an ordinary user has none of on v1.
var rootlessTests = []string{"run", "exec", "terminal", "signals", "logs", "restart", "create", "volumes", "health"}

// TestRootlessPodman is a container's everyday life by podman of an ordinary user with sub-ids.
func TestRootlessPodman(t *testing.T) {
	if os.Getenv(envRuntime) == "" {
		testenv.RequireCommand(t, "podman", "busybox", "script", "setpriv", "newuidmap")
	}
	inMachines(t, func(t *testing.T, m *machine) {
		id, home := strconv.Itoa(userID), "/var/lib/"+userName
		p := newPodman(t, m, "setpriv", "--reuid="+id, "--regid="+id, "--clear-groups", "env", "HOME="+home, "USER="+userName, "TMPDIR="+home,
			"XDG_RUNTIME_DIR=/run/user/"+id)
		t.Cleanup(func() { p.out(t, "system", "migrate") }) // ends the process that holds its namespaces
		t.Run("ids", func(t *testing.T) {
			require.Equal(t, []string{"0", id, "1", "1", "200000", "65536"},
				strings.Fields(p.out(t, "run", "--rm", imageName, "cat", "/proc/self/uid_map")))
			require.Equal(t, "1000", p.out(t, "run", "--rm", "--user", "app", imageName, "id", "-u"))
		})
		for _, name := range rootlessTests {
			t.Run(name, func(t *testing.T) { podmanTests[name](t, p) })
		}
		require.Empty(t, p.out(t, "ps", "-aq"))
	})
}
