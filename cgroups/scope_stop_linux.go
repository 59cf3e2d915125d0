package cgroups

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Stop has systemd end the scope: its processes get SIGTERM, and SIGKILL 90 seconds later. It waits for that, until ctx
// ends. A scope that has ended is no error, and another one that has its name since is left alone (systemd ≥ 232).
func (s *Scope) Stop(ctx context.Context) error {
	c, err := dialAddress(ctx, s.address, s.private)
	if err != nil {
		return fmt.Errorf("stop scope %s: %w", s.Name, err)
	}
	defer c.close()
	if s.Invocation == "" {
		_, err = c.job(ctx, 0, c.manager(), systemdManager+".StopUnit", s.Name, "replace")
	} else {
		err = c.stopInvocation(ctx, s.Invocation)
	}
	if isDBus(err, endedErrors...) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop scope %s: %w", s.Name, adviseSystemd(err))
	}
	return nil
}

// endedErrors are those of D-Bus for a unit that is no more.
var endedErrors = []string{"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.NoUnitForInvocationID",
	"org.freedesktop.DBus.Error.UnknownObject"}

// stopInvocation stops a unit by an object that is its run's, not its name's, so that nothing else is stopped.
func (c *systemdConn) stopInvocation(ctx context.Context, invocation string) error {
	id, err := hex.DecodeString(invocation)
	if err != nil {
		return fmt.Errorf("invocation %.300q: %w", invocation, err)
	}
	var path dbus.ObjectPath
	if err := c.manager().CallWithContext(ctx, systemdManager+".GetUnitByInvocationID", 0, id).Store(&path); err != nil {
		return fmt.Errorf("GetUnitByInvocationID: %w", err)
	}
	_, err = c.job(ctx, 0, c.Object(systemdName, path), systemdUnit+".Stop", "replace")
	return err
}

// describe reads a scope's control group and number.
func (c *systemdConn) describe(ctx context.Context, s *Scope) error {
	path, err := c.unit(ctx, s.Name)
	if err != nil {
		return err
	}
	v, err := c.property(ctx, path, systemdScope, "ControlGroup")
	if err != nil {
		return err
	}
	group, ok := v.Value().(string)
	if _, absolute, err := splitPath(group); !ok || err != nil || !absolute {
		return fmt.Errorf("ControlGroup is %.300q: %w", fmt.Sprint(v.Value()), errors.ErrUnsupported)
	}
	s.Group = group
	v, err = c.property(ctx, path, systemdUnit, "InvocationID")
	var de dbus.Error
	if err != nil && !errors.As(err, &de) { // which an older version answers
		return err
	}
	id, _ := v.Value().([]byte)
	s.Invocation = hex.EncodeToString(id)
	return nil
}
