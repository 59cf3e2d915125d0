package cgroups

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// How long CreateScope waits for a name that a scope without processes has: from the first look at it, and between two.
const (
	reclaimWait  = 5 * time.Second
	reclaimPause = 10 * time.Millisecond
)

// makeUnit has systemd make the scope. A scope of the name whose processes have all ended, such as a killed program's, is no
// obstacle: systemd ends it when it has heard of that, which on v1 may be never, and forgets it a little later.
func (c *systemdConn) makeUnit(ctx context.Context, o *ScopeOptions, properties []unitProperty) (began bool, err error) {
	deadline := time.Now().Add(reclaimWait)
	for {
		began, err = c.job(ctx, undoWait, c.manager(), systemdManager+".StartTransientUnit", o.Name, "fail", properties, []auxUnit{})
		if !isDBus(err, "org.freedesktop.systemd1.UnitExists") || time.Now().After(deadline) {
			return began, err
		}
		if !c.deserted(ctx, o.Name) && ctx.Err() == nil {
			return began, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(reclaimPause):
		}
	}
}

// deserted says whether what has the name is a scope without processes, or nothing any more. One that systemd believes to be active it
// stops. Processes are moved into a scope before it becomes active, so that nobody is about to use it.
func (c *systemdConn) deserted(ctx context.Context, name string) bool {
	path, err := c.unit(ctx, name)
	if err != nil {
		return isDBus(err, endedErrors...)
	}
	state, err := c.property(ctx, path, systemdUnit, "ActiveState")
	if err != nil {
		return isDBus(err, endedErrors...)
	}
	switch state.Value() {
	case "deactivating":
		return true
	case "inactive", "failed": // is it to be started?
		job, err := c.property(ctx, path, systemdUnit, "Job")
		var j struct {
			ID   uint32
			Path dbus.ObjectPath
		}
		return err == nil && dbus.Store([]any{job.Value()}, &j) == nil && j.ID == 0
	case "active":
		s := &Scope{Name: name}
		if c.describe(ctx, s) != nil || s.Invocation == "" {
			return false
		}
		var processes []struct {
			Group   string
			PID     uint32
			Command string
		}
		err := c.manager().CallWithContext(ctx, systemdManager+".GetUnitProcesses", 0, name).Store(&processes)
		if err != nil || len(processes) > 0 {
			return isDBus(err, endedErrors...)
		}
		err = c.stopInvocation(ctx, s.Invocation)
		return err == nil || isDBus(err, endedErrors...)
	}
	return false
}

// isDBus says whether an error is one of D-Bus with one of the names.
func isDBus(err error, names ...string) bool {
	var de dbus.Error
	return errors.As(err, &de) && slices.Contains(names, de.Name)
}
