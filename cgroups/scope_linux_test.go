package cgroups

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
)

// newBus starts a D-Bus daemon and returns its address.
func newBus(t testing.TB) string {
	t.Helper()
	testenv.RequireCommand(t, "dbus-daemon")
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	require.NoError(t, os.WriteFile(config, []byte(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=`+dir+`/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`), 0o600))
	c := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address=1")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return "unix:path=" + dir + "/bus"
}

// fakeSystemd is org.freedesktop.systemd1 on a bus: it makes the scopes' control groups below top.
type fakeSystemd struct {
	conn *dbus.Conn
	m    *Manager
	top  string

	mu      sync.Mutex
	version string
	result  string // of the next job; empty never ends it
	slow    time.Duration
	asking  func() // is called when a scope is asked for
	scopes  map[string]*Group
	run     byte // the number of units' runs, which is their ids
	asked   map[string]dbus.Variant
	stopped []string
	state   string // of all units
	jobs    uint32 // of all units
	forget  func() // is called when a unit is stopped

	subscribed []dbus.Sender
}

func newSystemd(t testing.TB, address string, m *Manager) *fakeSystemd {
	t.Helper()
	conn, err := dbus.Connect(address)
	require.NoError(t, err)
	s := &fakeSystemd{conn: conn, m: m, top: "/" + testenv.CgroupName(t), version: "252.38-1~deb12u1", result: "done", state: "active", scopes: make(map[string]*Group)}
	require.NoError(t, conn.Export(s, systemdPath, systemdManager))
	require.NoError(t, conn.ExportSubtreeMethodTable(map[string]any{"Get": s.get}, systemdPath+"/unit",
		"org.freedesktop.DBus.Properties"))
	require.NoError(t, conn.ExportSubtreeMethodTable(map[string]any{"Stop": s.stop}, systemdPath+"/unit", systemdUnit))
	require.NoError(t, conn.ExportMethodTable(map[string]any{"Get": s.get}, systemdPath, "org.freedesktop.DBus.Properties"))
	_, err = conn.RequestName(systemdName, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range s.scopes {
			require.NoError(t, g.Kill(context.Background()))
			require.NoError(t, g.Remove())
			_ = g.Close()
		}
	})
	return s
}

// set changes what the bus's goroutines read.
func (s *fakeSystemd) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *fakeSystemd) property(name string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name].Value()
}

func (s *fakeSystemd) scope(name string) *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopes[name]
}

func (s *fakeSystemd) stops() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// Subscribe is refused the second time, as systemd does over a bus.
func (s *fakeSystemd) Subscribe(from dbus.Sender) *dbus.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.subscribed, from) {
		return dbus.NewError("org.freedesktop.systemd1.AlreadySubscribed", []any{"Client is already subscribed."})
	}
	s.subscribed = append(s.subscribed, from)
	return nil
}

func (s *fakeSystemd) StartTransientUnit(name, mode string, properties []unitProperty, aux []auxUnit) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking != nil {
		s.asking()
	}
	time.Sleep(s.slow)
	if s.scopes[name] != nil {
		return "", dbus.NewError("org.freedesktop.systemd1.UnitExists", []any{"Unit " + name + " was already loaded."})
	}
	s.asked = make(map[string]dbus.Variant)
	for _, p := range properties {
		s.asked[p.Name] = p.Value
	}
	g, err := s.m.Create(s.top+"/"+name, &Resources{AllDevices: true})
	if err != nil {
		return "", dbus.MakeFailedError(err)
	}
	s.scopes[name] = g
	s.run++
	for _, pid := range s.asked["PIDs"].Value().([]uint32) {
		if err := g.Add(int(pid)); err != nil {
			return "", dbus.MakeFailedError(err)
		}
	}
	return s.job(name), nil
}

func (s *fakeSystemd) SetUnitProperties(name string, runtime bool, properties []unitProperty) *dbus.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scopes[name] == nil {
		return dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not loaded."})
	}
	for _, p := range properties {
		s.asked[p.Name] = p.Value
	}
	return nil
}

func (s *fakeSystemd) job(unit string) dbus.ObjectPath {
	path := systemdPath + "/job/7"
	if s.result != "" {
		// Another job's end before ours, and before the answer.
		_ = s.conn.Emit(systemdPath, systemdManager+".JobRemoved", uint32(6), systemdPath+"/job/6", "other.scope", "failed")
		_ = s.conn.Emit(systemdPath, systemdManager+".JobRemoved", uint32(7), path, unit, s.result)
	}
	return path
}

func (s *fakeSystemd) StopUnit(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = append(s.stopped, name)
	if s.scopes[name] == nil {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not loaded."})
	}
	return s.job(name), nil
}

// id is that of a unit's run, of which the last one's is known.
func (s *fakeSystemd) id() []byte { return bytes.Repeat([]byte{s.run}, 16) }

func (s *fakeSystemd) GetUnitByInvocationID(id []byte) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(id, s.id()) {
		return "", dbus.NewError("org.freedesktop.systemd1.NoUnitForInvocationID", nil)
	}
	return systemdPath + "/unit/" + dbus.ObjectPath(hex.EncodeToString(id)), nil
}

func (s *fakeSystemd) GetUnitProcesses(name string) ([]unitProcess, *dbus.Error) {
	var all []unitProcess
	if g := s.scope(name); g != nil {
		pids, err := g.Pids()
		if err != nil {
			return nil, dbus.MakeFailedError(err)
		}
		for _, pid := range pids {
			all = append(all, unitProcess{"/", uint32(pid), "some"})
		}
	}
	return all, nil
}

type unitProcess struct {
	Group   string
	PID     uint32
	Command string
}

func (s *fakeSystemd) stop(m dbus.Message, mode string) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = append(s.stopped, filepath.Base(string(m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))))
	if s.forget != nil {
		s.forget()
	}
	return s.job("the unit's"), nil
}

func (s *fakeSystemd) GetUnit(name string) (dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scopes[name] == nil {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not loaded."})
	}
	return systemdPath + "/unit/" + dbus.ObjectPath(fmt.Sprintf("%x", name)), nil
}

func (s *fakeSystemd) get(m dbus.Message, iface, property string) (dbus.Variant, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := string(m.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
	var name string
	_, _ = fmt.Sscanf(filepath.Base(path), "%x", &name)
	if iface == systemdManager && property == "Version" {
		return dbus.MakeVariant(s.version), nil
	}
	if v, ok := s.asked[property]; ok && strings.HasPrefix(property, "CPUQuota") {
		return v, nil
	}
	if iface == systemdUnit && property == "InvocationID" && s.version != "220" {
		return dbus.MakeVariant(s.id()), nil
	}
	if iface == systemdUnit && property == "ActiveState" {
		return dbus.MakeVariant(s.state), nil
	}
	if iface == systemdUnit && property == "Job" {
		return dbus.MakeVariant(struct {
			ID   uint32
			Path dbus.ObjectPath
		}{s.jobs, "/"}), nil
	}
	if s.scopes[name] == nil || iface != systemdScope || property != "ControlGroup" {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
	}
	return dbus.MakeVariant(s.top + "/" + name), nil
}

// TestScope has a scope made by a systemd over a real bus, and a group with limits in it.
func TestScope(t *testing.T) {
	m := newManager(t)
	address := newBus(t)
	s := newSystemd(t, address, m)
	holder := newHelper(t, nil, "cg-sleep")
	o := &ScopeOptions{Name: "caisson-1.scope", Slice: "machine.slice", PIDs: []int{holder.pid()}, Address: address,
		Resources: &Resources{Pids: 11}}
	scope, err := CreateScope(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, s.top+"/caisson-1.scope", scope.Group)
	require.Equal(t, true, s.property("Delegate"))
	require.Equal(t, "machine.slice", s.property("Slice"))
	require.Equal(t, uint64(11), s.property("TasksMax"))
	require.Equal(t, "caisson-1.scope", s.property("Description"))
	pids, err := s.scope(o.Name).Pids()
	require.NoError(t, err)
	require.Equal(t, []int{holder.pid()}, pids)

	_, err = CreateScope(t.Context(), o)
	require.ErrorIs(t, err, fs.ErrExist)

	opened, err := OpenScope(t.Context(), &ScopeOptions{Name: o.Name, Address: address})
	require.NoError(t, err)
	require.Equal(t, scope, opened)
	_, err = OpenScope(t.Context(), &ScopeOptions{Name: "other.scope", Address: address})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, opened.Update(t.Context(), &Resources{Pids: 12}))
	require.Equal(t, uint64(12), s.property("TasksMax"))
	// A quota is for the period in force, a period for the quota.
	bandwidth := func(r *Resources) []any {
		require.NoError(t, opened.Update(t.Context(), r))
		return []any{s.property("CPUQuotaPerSecUSec"), s.property("CPUQuotaPeriodUSec")}
	}
	require.Equal(t, []any{nil, uint64(50_000)}, bandwidth(&Resources{CPUPeriod: 50 * time.Millisecond}))
	require.Equal(t, []any{uint64(500_000), uint64(50_000)}, bandwidth(&Resources{CPUQuota: 25 * time.Millisecond}))
	require.Equal(t, []any{uint64(250_000), uint64(100_000)}, bandwidth(&Resources{CPUPeriod: 100 * time.Millisecond}))
	require.Equal(t, []any{uint64(math.MaxUint64), uint64(100_000)}, bandwidth(&Resources{CPUQuota: Unlimited}))
	require.Equal(t, []any{uint64(math.MaxUint64), uint64(50_000)}, bandwidth(&Resources{CPUPeriod: 50 * time.Millisecond}))
	s.set(func() { // as before systemd 242
		s.version = "220"
		delete(s.asked, "CPUQuotaPeriodUSec")
	})
	require.NoError(t, opened.Update(t.Context(), &Resources{Pids: 13, CPUQuota: 100 * time.Millisecond}))
	require.Equal(t, uint64(12), s.property("TasksMax"), "this one has no such property")
	require.Equal(t, uint64(1_000_000), s.property("CPUQuotaPerSecUSec"))
	require.ErrorContains(t, opened.Update(t.Context(), &Resources{Pids: -2}), "Pids")
	require.ErrorIs(t, (&Scope{Name: "other.scope", address: address}).Update(t.Context(), &Resources{CPUShares: 2, CPUQuota: 1e9}),
		fs.ErrNotExist)

	// On v2 the first process is moved out of the way, as in any delegated group.
	if m.Mode() == V2 {
		inner, err := m.Create(scope.Group+"/holder", nil)
		require.NoError(t, err)
		defer inner.Close()
		require.NoError(t, inner.Add(holder.pid()))
	}
	g, err := m.Create(scope.Group+"/job", &Resources{Pids: 9})
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, "9", value(t, g, "pids", "pids.max"))
	require.NoError(t, g.Remove())

	require.NoError(t, scope.Stop(t.Context()))
	require.Equal(t, []string{strings.Repeat("01", 16)}, s.stops())
	s.set(func() { s.run++ })
	require.NoError(t, scope.Stop(t.Context()), "its name is another's")
	require.Len(t, s.stops(), 1)
	scope.Invocation = "x"
	require.ErrorContains(t, scope.Stop(t.Context()), `invocation "x"`)
	opened, err = OpenScope(t.Context(), &ScopeOptions{Name: o.Name, Address: address}) // version 220 has no numbers
	require.NoError(t, err)
	require.Empty(t, opened.Invocation)
	require.NoError(t, opened.Stop(t.Context()))
	require.Equal(t, o.Name, s.stops()[1])
	require.NoError(t, (&Scope{Name: "ended.scope", address: address}).Stop(t.Context()), "it has ended")
}

// TestScopeFails: what systemd refuses, does not finish, or is not there for; and nothing is left at the bus.
func TestScopeFails(t *testing.T) {
	m := newManager(t)
	address := newBus(t)
	holder := newHelper(t, nil, "cg-sleep")
	o := &ScopeOptions{Name: "caisson-2.scope", PIDs: []int{holder.pid()}, Address: address}
	_, err := CreateScope(t.Context(), o)
	require.ErrorIs(t, err, ErrNoSystemd, "a bus without systemd")
	require.ErrorIs(t, err, errors.ErrUnsupported)

	s := newSystemd(t, address, m)
	s.set(func() { s.result = "failed" })
	_, err = CreateScope(t.Context(), o)
	require.ErrorContains(t, err, `ended as "failed"`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.set(func() { s.result, s.asking = "", func() { time.AfterFunc(200*time.Millisecond, cancel) } })
	o.Name = "caisson-3.scope"
	_, err = CreateScope(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{o.Name}, s.stops(), "it is undone")

	o.Address = "unix:path=" + t.TempDir() + "/none"
	_, err = CreateScope(t.Context(), o)
	require.ErrorIs(t, err, ErrNoSystemd)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	o.Address, o.User = "", true
	_, err = CreateScope(t.Context(), o)
	require.ErrorIs(t, err, ErrNoSystemd)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	s.set(func() { s.result = "done" })
	o.Name = "caisson-4.scope"
	_, err = CreateScope(t.Context(), o)
	require.NoError(t, err, "found by the environment")
}

// TestScopeDeserted: the name of a scope whose processes have all ended is free again; that of another, or of one that is being made, is
// not.
func TestScopeDeserted(t *testing.T) {
	m := newManager(t)
	address := newBus(t)
	s := newSystemd(t, address, m)
	holder := newHelper(t, nil, "cg-sleep")
	o := &ScopeOptions{Name: "caisson-6.scope", PIDs: []int{holder.pid()}, Address: address}
	first, err := CreateScope(t.Context(), o)
	require.NoError(t, err)
	remove := func() {
		g := s.scopes[o.Name]
		delete(s.scopes, o.Name)
		require.NoError(t, g.Remove())
		_ = g.Close()
	}
	holder.kill()
	o.PIDs = []int{newHelper(t, nil, "cg-sleep").pid()}
	s.set(func() { s.state, s.jobs = "inactive", 4 })
	_, err = CreateScope(t.Context(), o)
	require.ErrorIs(t, err, fs.ErrExist, "somebody is making it")
	require.Empty(t, s.stops())

	// It takes systemd some looks to forget it.
	s.set(func() { s.state, s.jobs = "active", 0 })
	s.set(func() { s.forget = func() { s.state = "deactivating" } })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.stops() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err = CreateScope(ctx, o)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{first.Invocation}, s.stops())
	s.set(func() { s.state, s.forget = "active", remove })
	second, err := CreateScope(t.Context(), o)
	require.NoError(t, err)
	require.NotEqual(t, first.Invocation, second.Invocation)
}

// TestScopeOfAnother: when ctx ends first, only a scope is stopped that came into being by this call.
func TestScopeOfAnother(t *testing.T) {
	m := newManager(t)
	address := newBus(t)
	holder := newHelper(t, nil, "cg-sleep")
	s := newSystemd(t, address, m)
	o := &ScopeOptions{Name: "caisson-5.scope", PIDs: []int{holder.pid()}, Address: address}
	_, err := CreateScope(t.Context(), o)
	require.NoError(t, err)
	start := func() []string {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.set(func() { s.slow, s.asking, s.stopped = 300*time.Millisecond, cancel, nil })
		_, err = CreateScope(ctx, o)
		require.ErrorIs(t, err, context.Canceled)
		return s.stops()
	}
	require.Empty(t, start(), "it is another's")
	o.Name = "caisson-6.scope"
	require.Equal(t, []string{o.Name}, start())
}

// TestScopeForged: a job's end counts only when systemd tells of it.
func TestScopeForged(t *testing.T) {
	m := newManager(t)
	address := newBus(t)
	holder := newHelper(t, nil, "cg-sleep")
	s := newSystemd(t, address, m)
	s.set(func() { s.result = "" })
	forger, err := dbus.Connect(address)
	require.NoError(t, err)
	defer forger.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			_ = forger.Emit(systemdPath, systemdManager+".JobRemoved", uint32(7), systemdPath+"/job/7", "x", "failed")
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_, err = CreateScope(ctx, &ScopeOptions{Name: "caisson-7.scope", PIDs: []int{holder.pid()}, Address: address})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestScopeOptions(t *testing.T) {
	for field, o := range map[string]*ScopeOptions{
		"Name":        {Name: "x.service", PIDs: []int{1}},
		"Name ":       {PIDs: []int{1}},
		"Name \"a/b":  {Name: "a/b.scope", PIDs: []int{1}},
		"Slice":       {Name: "x.scope", Slice: "x", PIDs: []int{1}},
		"PIDs \"\"":   {Name: "x.scope"},
		"PIDs \"0\"":  {Name: "x.scope", PIDs: []int{0}},
		"Pids":        {Name: "x.scope", PIDs: []int{1}, Resources: &Resources{Pids: -2}},
		"Description": {Name: "x.scope", PIDs: []int{1}, Description: "a\nb"},
	} {
		_, err := CreateScope(t.Context(), o)
		require.ErrorContains(t, err, field)
	}
}

// TestSystemdScopeDeserted: a scope can be made as soon as the processes of one of the same name have ended, over the private socket and
// the bus.
func TestSystemdScopeDeserted(t *testing.T) {
	testenv.RequireSystemd(t)
	o := &ScopeOptions{Name: testenv.CgroupName(t) + ".scope"}
	var last *Scope
	for i := range 4 {
		holder := newHelper(t, nil, "cg-sleep")
		o.PIDs, o.Address = []int{holder.pid()}, []string{"", "unix:path=/run/dbus/system_bus_socket"}[i%2]
		s, err := CreateScope(t.Context(), o)
		require.NoError(t, err)
		if last != nil {
			require.NotEqual(t, last.Invocation, s.Invocation)
		}
		last = s
		holder.kill()
	}
	require.NoError(t, last.Stop(t.Context()))
}

// TestSystemdScope has the machine's own systemd make, find, change and end scopes, at its private socket and over the bus.
func TestSystemdScope(t *testing.T) {
	testenv.RequireSystemd(t)
	for name, address := range map[string]string{"private": "", "bus": "unix:path=/run/dbus/system_bus_socket"} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			for i := range 3 {
				holder := newHelper(t, nil, "cg-sleep")
				o := &ScopeOptions{Name: testenv.CgroupName(t) + ".scope", PIDs: []int{holder.pid()}, Address: address,
					Resources: &Resources{Memory: 64 << 20, MemorySwap: 96 << 20, CPUQuota: 50 * time.Millisecond, Pids: 9, CPUs: "0"}}
				s, err := CreateScope(t.Context(), o)
				require.NoError(t, err)
				require.Equal(t, "/system.slice/"+o.Name, s.Group)
				g, err := m.Open(s.Group)
				require.NoError(t, err)
				defer g.Close()
				pids, err := g.Pids()
				require.NoError(t, err)
				require.Equal(t, []int{holder.pid()}, pids)
				if i == 0 {
					require.Equal(t, "9", value(t, g, "pids", "pids.max"))
					_, err = CreateScope(t.Context(), o)
					require.ErrorIs(t, err, fs.ErrExist)
					s, err = OpenScope(t.Context(), o)
					require.NoError(t, err)
					require.NoError(t, s.Update(t.Context(), &Resources{Pids: 12}))
					require.Equal(t, "12", value(t, g, "pids", "pids.max"))
				}
				require.NoError(t, s.Stop(t.Context()))
				require.NoError(t, s.Stop(t.Context()), "it has ended")
				if i == 0 {
					o.PIDs = []int{newHelper(t, nil, "cg-sleep").pid()}
					second, err := CreateScope(t.Context(), o)
					require.NoError(t, err)
					require.Len(t, second.Invocation, 32)
					require.NoError(t, s.Stop(t.Context()))
					_, err = OpenScope(t.Context(), o)
					require.NoError(t, err, "it has the name only")
					require.NoError(t, second.Stop(t.Context()))
				}
				_, err = OpenScope(t.Context(), o)
				require.ErrorIs(t, err, fs.ErrNotExist)
			}
		})
	}
}
