package engine

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"strings"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/container"
)

// Info says what an engine holds and what it runs on.
type Info struct {
	Root                    string
	Containers              int
	Running, Created, Ended int
	Images                  int
	KernelVersion           string
	OSType, Architecture    string
	CPUs                    int
	CgroupMode              string // "v1", "hybrid" or "v2"; if it is not known, the error
	CgroupManager           string // "cgroupfs" or "systemd"
	// Support is what the machine lets the program do: see [container.Supported]; and for an ordinary user's "networks of an
	// ordinary user".
	Support []container.Support
}

// Info returns what the engine holds and what it runs on.
func (e *Engine) Info(ctx context.Context) (*Info, error) {
	list, err := e.List(ctx)
	if err != nil {
		return nil, err
	}
	images, err := e.images.Search(ctx, nil)
	if err != nil {
		return nil, err
	}
	i := &Info{
		Root: e.dir, Containers: len(list), Images: len(images),
		Support: append(container.Supported(), networksSupport()...), OSType: runtime.GOOS, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU(),
		CgroupManager: cmp.Or(e.options.CgroupManager, cgroupfs),
	}
	for _, c := range list {
		switch c.State.Status {
		case Running:
			i.Running++
		case Created:
			i.Created++
		case Exited:
			i.Ended++
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		i.KernelVersion = strings.TrimSpace(string(b))
	}
	if m, err := cgroups.Detect(); err != nil {
		i.CgroupMode = err.Error()
	} else {
		i.CgroupMode = m.Mode().String()
		if err := m.Close(); err != nil {
			return nil, err
		}
	}
	return i, nil
}
