package main

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/namespace"
)

// A groupRest makes the rest of a control group, which is most of it on v1, while the process is made that will join it: that
// takes as long.
type groupRest struct {
	*cgroups.Making
	done  chan struct{} // closed when the others are set
	group *cgroups.Group
	err   error
}

// beginGroup begins to make a control group. It returns nil if it is to be made at once: on v2, where that takes no time;
// where it may fail and be forgiven; and if it is opened before the process is made.
func (m *making) beginGroup(name string, r *cgroups.Resources) (*groupRest, error) {
	if m.ordinary() || !namespace.Privileged() || m.bundle.HasNamespace(specs.UserNamespace) ||
		!m.bundle.HasNamespace(specs.CgroupNamespace) {
		return nil, nil
	}
	k, err := m.manager.Begin(name, r)
	if err != nil || k == nil {
		return nil, err
	}
	rest := &groupRest{Making: k, done: make(chan struct{})}
	go func() {
		defer close(rest.done)
		rest.group, rest.err = k.Finish()
	}()
	return rest, nil
}

// restOfGroup waits for the rest of the control group, if there is one to be waited for, and takes the group over. After an
// error abortGroup is to be called when no process is left in it.
func (m *making) restOfGroup() error {
	rest := m.rest
	if rest == nil || m.group != nil {
		return nil
	}
	<-rest.done
	if rest.err == nil {
		m.group = rest.group
		m.setGroup(m.group)
		return nil
	}
	return fmt.Errorf("unable to apply cgroup configuration: %w", bundle.ExplainLimit(rest.err))
}

// abortGroup takes back what was made of a group that could not be made whole.
func (m *making) abortGroup() {
	if m.rest == nil || m.rest.err == nil {
		return
	}
	m.rest.Abort()
	if err := m.folder.ForgetGroup(); err != nil { // what is there now is another's
		m.c.warn("undo: %v", err)
	}
}
