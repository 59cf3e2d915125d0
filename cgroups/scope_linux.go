package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// systemd's names on D-Bus (org.freedesktop.systemd1(5)).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = dbus.ObjectPath("/org/freedesktop/systemd1")
	systemdManager = "org.freedesktop.systemd1.Manager"
	systemdUnit    = "org.freedesktop.systemd1.Unit"
	systemdScope   = "org.freedesktop.systemd1.Scope"
)

// CreateScope has systemd make a scope with the processes in it, and waits until it is there. ctx bounds that: when it
// ends first, the scope is stopped, if systemd says within two seconds that it is being made. The error is ErrNoSystemd
// without systemd, satisfies fs.ErrExist if there is a unit of that name, unless it is a scope whose processes have all ended, and is
// ErrNotDelegated if the program may not.
func CreateScope(ctx context.Context, o *ScopeOptions) (*Scope, error) {
	if o == nil {
		o = &ScopeOptions{}
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c, err := dialSystemd(ctx, o.User, o.Address)
	if err != nil {
		return nil, fmt.Errorf("create scope %s: %w", o.Name, err)
	}
	defer c.close()
	s := &Scope{Name: o.Name, address: c.address, private: c.private}
	if err = c.startScope(ctx, o, s); err != nil {
		return nil, fmt.Errorf("create scope %s: %w", o.Name, adviseSystemd(err))
	}
	return s, nil
}

// OpenScope finds a scope by Name, User and Address; the other options do not count. The error satisfies fs.ErrNotExist if
// there is none of the name, and is ErrNoSystemd without systemd.
func OpenScope(ctx context.Context, o *ScopeOptions) (*Scope, error) {
	if o == nil {
		o = &ScopeOptions{}
	}
	if err := o.validateName(); err != nil {
		return nil, err
	}
	c, err := dialSystemd(ctx, o.User, o.Address)
	if err != nil {
		return nil, fmt.Errorf("open scope %s: %w", o.Name, err)
	}
	defer c.close()
	s := &Scope{Name: o.Name, address: c.address, private: c.private}
	if err = c.describe(ctx, s); err != nil {
		return nil, fmt.Errorf("open scope %s: %w", o.Name, adviseSystemd(err))
	}
	return s, nil
}

// Update changes the limits among the scope's properties until it ends, those of [ScopeOptions].Resources: systemd writes them to
// the files of the scope's own group. Fields that are zero leave what is in force: CPUQuota alone is for the period in force,
// CPUPeriod alone changes what share the quota in force is, and Memory alone how much of MemorySwap in force is swap.
func (s *Scope) Update(ctx context.Context, r *Resources) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("update scope %s: %w", s.Name, err)
	}
	c, err := dialAddress(ctx, s.address, s.private)
	if err != nil {
		return fmt.Errorf("update scope %s: %w", s.Name, err)
	}
	defer c.close()
	var limits []unitProperty
	if r, err = c.withBandwidth(ctx, s.Name, r); err == nil {
		r, err = c.withSwap(ctx, s.Name, r)
	}
	if err == nil {
		limits, err = c.limits(ctx, r)
	}
	if err == nil && len(limits) > 0 {
		err = c.manager().CallWithContext(ctx, systemdManager+".SetUnitProperties", 0, s.Name, true, limits).Err
	}
	if err != nil {
		return fmt.Errorf("update scope %s: %w", s.Name, adviseSystemd(err))
	}
	return nil
}

// limits are the properties for the limits which the running systemd knows.
func (c *systemdConn) limits(ctx context.Context, r *Resources) ([]unitProperty, error) {
	var list []unitProperty
	version := -1 // not known yet
	for _, p := range scopeProperties(r, unifiedMounted()) {
		if p.since > 0 && version < 0 {
			var err error
			if version, err = c.version(ctx); err != nil {
				return nil, err
			}
		}
		if p.since <= version || p.since == 0 {
			list = append(list, unitProperty{p.name, dbus.MakeVariant(p.value)})
		}
	}
	return list, nil
}

// unifiedMounted says whether the controllers are on v2: as systemd does, by what is mounted.
func unifiedMounted() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC
}

// version is systemd's, 252 for "252.38-1~deb12u1".
func (c *systemdConn) version(ctx context.Context) (int, error) {
	var v dbus.Variant
	err := c.manager().CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdManager, "Version").Store(&v)
	if err != nil {
		return 0, fmt.Errorf("systemd's version: %w", err)
	}
	text, _ := v.Value().(string)
	var n int
	if _, err := fmt.Sscanf(strings.TrimPrefix(text, "systemd "), "%d", &n); err != nil { // some builds have other texts
		return 0, nil
	}
	return n, nil
}

// A systemdConn is a connection to systemd, by a bus or by its private socket.
type systemdConn struct {
	*dbus.Conn
	end     context.CancelFunc
	address string
	private bool
	owner   string // systemd's own name on the bus
	signals chan *dbus.Signal
	told    bool // of jobs' ends
}

// dialSystemd connects to the address, or to the first of the usual ones that answers.
func dialSystemd(ctx context.Context, user bool, address string) (*systemdConn, error) {
	if address != "" {
		return dialAddress(ctx, address, false)
	}
	private, bus := "/run/systemd/private", "unix:path=/run/dbus/system_bus_socket"
	if a := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
		bus = a
	}
	if user {
		dir := os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = "/run/user/" + strconv.Itoa(os.Geteuid())
		}
		private, bus = filepath.Join(dir, "systemd/private"), "unix:path="+filepath.Join(dir, "bus")
		if a := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); a != "" {
			bus = a
		}
	}
	c, first := dialAddress(ctx, "unix:path="+private, true)
	if first == nil {
		return c, nil
	}
	c, err := dialAddress(ctx, bus, false)
	if err != nil {
		return nil, errors.Join(err, first)
	}
	return c, nil
}

func dialAddress(ctx context.Context, address string, private bool) (*systemdConn, error) {
	fail := func(err error) error { return fmt.Errorf("%w: %s: %w", ErrNoSystemd, address, err) }
	// The connection outlives ctx, for what is to be undone then; setting it up does not.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	defer stop()
	conn, err := dbus.Dial(address, dbus.WithContext(life))
	if err != nil {
		end()
		return nil, fail(err)
	}
	c := &systemdConn{Conn: conn, end: end, address: address, private: private, signals: make(chan *dbus.Signal, 64)}
	err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil && private {
		err = c.wake(ctx)
	}
	if err == nil && !private { // a bus gives names and passes on what it is asked for
		if err = conn.Hello(); err == nil {
			err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemdName), dbus.WithMatchInterface(systemdManager),
				dbus.WithMatchMember("JobRemoved"), dbus.WithMatchObjectPath(systemdPath))
		}
		if err == nil {
			err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, systemdName).Store(&c.owner)
		}
	}
	if err != nil {
		c.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fail(err)
	}
	conn.Signal(c.signals)
	return c, nil
}

// wake waits until systemd answers at its private socket. What it reads together with the last line of the authentication, which
// has no answer, it does not look at before something else arrives: so it is asked again for as long as it is silent.
func (c *systemdConn) wake(ctx context.Context) error {
	for pause := wakeFirst; ; pause = min(2*pause, wakeLast) {
		call := c.manager().Go("org.freedesktop.DBus.Peer.Ping", 0, make(chan *dbus.Call, 1))
		select {
		case <-call.Done:
			return call.Err
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// How long wake waits for an answer before it asks again.
const (
	wakeFirst = 10 * time.Millisecond
	wakeLast  = time.Second
)

func (c *systemdConn) close() {
	_ = c.Close()
	c.end()
}

// undo stops a scope that came into being all the same.
func (c *systemdConn) undo(unit string) {
	ctx, cancel := context.WithTimeout(context.Background(), undoWait)
	defer cancel()
	_ = c.manager().CallWithContext(ctx, systemdManager+".StopUnit", 0, unit, "replace").Err
}

// undoWait bounds how long undo waits for an answer.
const undoWait = 2 * time.Second

func (c *systemdConn) manager() dbus.BusObject { return c.Object(systemdName, systemdPath) }

// A unitProperty and an auxiliary unit as StartTransientUnit takes them.
type (
	unitProperty struct {
		Name  string
		Value dbus.Variant
	}
	auxUnit struct {
		Name       string
		Properties []unitProperty
	}
)

// startScope makes the scope and describes it.
func (c *systemdConn) startScope(ctx context.Context, o *ScopeOptions, s *Scope) error {
	pids := make([]uint32, len(o.PIDs))
	for i, pid := range o.PIDs {
		pids[i] = uint32(pid)
	}
	description := o.Description
	if description == "" {
		description = o.Name
	}
	properties := []unitProperty{
		{"Description", dbus.MakeVariant(description)},
		{"PIDs", dbus.MakeVariant(pids)},
		{"Delegate", dbus.MakeVariant(true)},
		{"DefaultDependencies", dbus.MakeVariant(false)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	limits, err := c.limits(ctx, o.Resources)
	if err != nil {
		return err
	}
	properties = append(properties, limits...)
	if o.Slice != "" {
		properties = append(properties, unitProperty{"Slice", dbus.MakeVariant(o.Slice)})
	}
	began, err := c.makeUnit(ctx, o, properties)
	if err != nil {
		if began && ctx.Err() != nil { // it may come into being yet
			c.undo(o.Name)
		}
		return err
	}
	if err := c.describe(ctx, s); err != nil {
		c.undo(o.Name)
		return err
	}
	return nil
}

// job calls a method of an object that returns a job, and waits for the job's end. began says whether there is one: when ctx ends
// before the answer, that is waited for a while longer to know it. What is not begun must not be undone: the unit may be
// another's.
func (c *systemdConn) job(ctx context.Context, longer time.Duration, of dbus.BusObject, method string, args ...any) (began bool, err error) {
	if !c.told { // over a bus a second time is an error
		if err := c.manager().CallWithContext(ctx, systemdManager+".Subscribe", 0).Err; err != nil {
			return false, fmt.Errorf("subscribe: %w", err)
		}
		c.told = true
	}
	call := of.Go(method, 0, make(chan *dbus.Call, 1), args...)
	select {
	case <-call.Done:
	case <-ctx.Done():
		select {
		case <-call.Done:
		case <-time.After(longer):
			return false, fmt.Errorf("%s: %w", method, context.Cause(ctx))
		}
	}
	var job dbus.ObjectPath
	if err := call.Store(&job); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, fmt.Errorf("%s: %w", method, err)
	}
	return true, c.ended(ctx, method, job)
}

// ended waits for a job's end.
func (c *systemdConn) ended(ctx context.Context, method string, job dbus.ObjectPath) error {
	for {
		select {
		case s, ok := <-c.signals:
			if !ok {
				return fmt.Errorf("%s: %w", method, dbus.ErrClosed)
			}
			var id uint32
			var of dbus.ObjectPath
			var unit, result string
			if !c.private && s.Sender != c.owner { // anybody can send a signal over a bus
				continue
			}
			if s.Name != systemdManager+".JobRemoved" || dbus.Store(s.Body, &id, &of, &unit, &result) != nil || of != job {
				continue
			}
			if result != "done" {
				return fmt.Errorf("%s: the job of %s ended as %q", method, unit, result)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", method, context.Cause(ctx))
		}
	}
}

func (c *systemdConn) unit(ctx context.Context, name string) (path dbus.ObjectPath, err error) {
	if err = c.manager().CallWithContext(ctx, systemdManager+".GetUnit", 0, name).Store(&path); err != nil {
		err = fmt.Errorf("GetUnit: %w", err)
	}
	return path, err
}

func (c *systemdConn) property(ctx context.Context, path dbus.ObjectPath, of, name string) (v dbus.Variant, err error) {
	err = c.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, of, name).Store(&v)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return v, err
}

// adviseSystemd makes of errors of D-Bus what they are here.
func adviseSystemd(err error) error {
	var de dbus.Error
	if !errors.As(err, &de) {
		return err
	}
	switch name := strings.TrimPrefix(de.Name, "org.freedesktop."); name {
	case "systemd1.UnitExists":
		return fmt.Errorf("%w: %w", fs.ErrExist, err)
	case "systemd1.NoSuchUnit":
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case "DBus.Error.AccessDenied", "DBus.Error.InteractiveAuthorizationRequired", "DBus.Error.AuthFailed":
		return fmt.Errorf("%w: %w (as an ordinary user set User, for the user's own systemd)", ErrNotDelegated, err)
	case "DBus.Error.ServiceUnknown", "DBus.Error.NameHasNoOwner":
		return fmt.Errorf("%w: %w", ErrNoSystemd, err)
	}
	return err
}
