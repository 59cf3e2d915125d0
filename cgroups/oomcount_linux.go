package cgroups

import (
	"fmt"
	"os"
)

// OOMFile opens the file that counts, among others, what the OOM killer has killed in the group: for whoever reads it when the group
// may have been removed, since systemd removes those of a scope. [OOMCount] is what it says. The error satisfies fs.ErrNotExist
// without the memory controller.
func (g *Group) OOMFile() (*os.File, error) {
	if err := g.acquire("open events of"); err != nil {
		return nil, err
	}
	defer g.mu.RUnlock()
	n, err := g.node("memory")
	if err != nil {
		return nil, err
	}
	file := "memory.oom_control"
	if n.h.unified {
		file = "memory.events"
	}
	fd, err := openat(n.fd(), file, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open %s/%s: %w", n.path, file, err)
	}
	return os.NewFile(uintptr(fd), file), nil
}
