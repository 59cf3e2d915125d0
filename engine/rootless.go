package engine

import (
	"os"
	"path"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// rootless says whether the program is an ordinary user's: its containers live in user namespaces, and there are
// control groups only as far as they were delegated.
func rootless() bool { return !namespace.Privileged() }

// ungrouped leaves out the control group of a container that needs none, where the program can make none.
func ungrouped(c *container.Container) {
	if !rootless() && namespace.FirstUserNamespace() || c.Limited() != "" || c.Namespaces.PID.Host {
		return
	}
	m, err := cgroups.Detect()
	if err == nil {
		defer m.Close()
		if d := m.Delegation(); d.Usable && d.Err == nil {
			return
		}
	}
	c.NoCgroup, c.Cgroup = true, ""
}

// sibling is a group beside the program's own, where an ordinary user's own is in a tree that is delegated to it; "" if the
// program has none on cgroup v2.
func sibling() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && own != "" {
			return path.Join("/", path.Dir(own), "caisson")
		}
	}
	return ""
}
