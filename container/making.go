package container

import (
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// swapCounted says that a limit of swap which nobody had asked for could be set, as it can on most hosts.
var swapCounted atomic.Bool

// A making is the control group of a container while another goroutine makes it: the making of the process, which waits
// before it joins the group, takes as long.
type making struct {
	c       *Container
	k       *cgroups.Making
	started bool
	done    chan struct{} // closed when err is set
	err     error
}

// makeGroupMeanwhile begins to make the control group, gives it into the guardian's care and puts it into the launch. It
// returns nil if the group is to be made as usual: where making it takes no time, and if it may be one that the container can
// do without, or that is not like those before.
func (c *Container) makeGroupMeanwhile(l *namespace.Launch, ward *namespace.Ward, u *undo) (*making, error) {
	if c.NoCgroup || c.Scope != nil || c.Keep != nil || !namespace.Privileged() || c.Memory != 0 && c.MemorySwap == 0 && !swapCounted.Load() {
		return nil, nil
	}
	if slices.ContainsFunc(l.Mounts, func(m namespace.Mount) bool { return m.CopyUp }) { // which is done in the group before
		return nil, nil
	}
	if strings.Contains(c.groupPath(), "/") { // the guardian is to know which groups between were made
		return nil, nil
	}
	m, err := manager()
	if err != nil {
		return nil, nil // makeGroup says it
	}
	k, err := m.Begin(c.groupPath(), c.resources())
	if err != nil {
		return nil, c.groupError(c.groupPath(), err)
	}
	if k == nil {
		return nil, nil
	}
	if ward.Folders = k.Paths(); !ward.Foreseen() {
		ward.Folders = nil
		k.Abort()
		return nil, nil
	}
	making := &making{c: c, k: k, done: make(chan struct{})}
	u.add(making.undo)
	l.CgroupDir, l.CgroupPaths = k.Entry()
	c.bindGroups(l)
	return making, register(ward, u)
}

// start begins to make the rest of the group.
func (m *making) start(gate *os.File) {
	m.started = true
	go m.finish(gate)
}

// finish makes the rest of the group, and opens the process's gate to it.
func (m *making) finish(gate *os.File) {
	defer close(m.done)
	g, err := m.k.Finish()
	if err == nil {
		m.c.groupMu.Lock()
		m.c.group = g
		m.c.groupMu.Unlock()
		err = openGate(gate)
	} else {
		err = m.c.groupError(m.c.groupPath(), err)
	}
	if m.err = err; err != nil {
		_ = gate.Close() // the process waits for nothing then, and ends
	}
}

// wait waits for the end of finish.
func (m *making) wait() error {
	<-m.done
	return m.err
}

// undo removes what there is of the group. The process is dead by now, if there was one.
func (m *making) undo() {
	if m.started {
		<-m.done
	}
	m.c.groupMu.Lock()
	made := m.c.group != nil
	m.c.groupMu.Unlock()
	if made {
		_ = m.c.removeGroup()
	} else {
		m.k.Abort()
	}
}

// bindGroups has the control groups that the container sees bound, each from its folder on the host: that costs the same
// however many there are, while the kernel looks at all groups for each hierarchy that is mounted anew.
func (c *Container) bindGroups(l *namespace.Launch) {
	m, err := manager()
	if err != nil || c.NoCgroup || m.Mode() == cgroups.V2 || !isNew(c.Namespaces.Cgroup) || !namespace.Privileged() {
		return
	}
	hierarchies := m.Hierarchies()
	folders, err := m.Directories(c.groupPath())
	if err != nil || len(folders) != len(hierarchies) {
		return
	}
	for i, h := range hierarchies {
		target := path.Join(cgroupTarget, h.Name)
		for k := range l.Mounts {
			if m := &l.Mounts[k]; m.Target == target && m.Type == h.Type && m.Data == h.Options && m.Source == "" {
				m.Source = folders[i]
			}
		}
	}
}
