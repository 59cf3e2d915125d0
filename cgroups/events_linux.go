package cgroups

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Watch tells what happens in a group. It holds one descriptor for the kernel's poller and up to four for what is
// polled, and has no goroutine or thread: who calls Next waits in Go's own poller. (With the pids controller on v1 it
// looks once a second, since the kernel does not always notify.)
type Watch struct {
	g    *Group
	poll *os.File // an epoll descriptor

	waiting sync.Mutex // held by the Next that waits

	mu      sync.Mutex
	sources []*source
	counts  map[EventKind]uint64
	states  map[EventKind]bool // Populated and Frozen
	queue   []Event
	ended   bool
	recheck time.Time // v1: until then the count of kills may follow the notification
	look    bool      // v1: the kernel may not notify of all
}

// A source is a descriptor that becomes ready when something happened.
type source struct {
	fd   int
	read func(w *Watch, s *source) error
}

// Watch starts to watch the group and those below it. What happened before, since the group was made, is told by the
// first events. Close the Watch when it is not needed any more; Close of the group ends it too.
func (g *Group) Watch() (*Watch, error) {
	if err := g.acquire("watch"); err != nil {
		return nil, err
	}
	defer g.mu.RUnlock()
	w := &Watch{g: g, counts: make(map[EventKind]uint64), states: make(map[EventKind]bool)}
	err := w.open()
	if err == nil {
		err = w.collect()
	}
	if err != nil {
		w.end()
		return nil, fmt.Errorf("watch group %s: %w", g.name, err)
	}
	g.watching.Lock()
	defer g.watching.Unlock()
	if g.watches == nil {
		g.watches = make(map[*Watch]bool)
	}
	g.watches[w] = true
	return w, nil
}

func (w *Watch) open() error {
	err := w.g.m.step("watch", w.g.name)
	epoll := -1
	if err == nil {
		epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	_ = unix.SetNonblock(epoll, true)
	w.poll = os.NewFile(uintptr(epoll), "epoll")
	if n := w.g.unified(); n != nil {
		if err := w.file(n, "cgroup.events", (*Watch).readState); err != nil {
			return err
		}
	}
	if n, err := w.g.node("pids"); err == nil {
		w.look = !n.h.unified
		if err := w.file(n, "pids.events", (*Watch).readPids); err != nil {
			return err
		}
	}
	n, err := w.g.node("memory")
	switch {
	case err != nil:
		return nil
	case n.h.unified:
		return w.file(n, "memory.events", (*Watch).readMemory)
	}
	// Without a count of kills, before Linux 4.13, the notification is all.
	if err := w.eventfd(n, "memory.oom_control", "", OOM); err != nil {
		return err
	}
	return w.eventfd(n, "memory.pressure_level", " critical", MemoryPressure)
}

// file watches a control file that tells of changes (cgroup_file_notify). A kernel that does not have it tells nothing.
func (w *Watch) file(n *node, name string, read func(*Watch, []byte) error) error {
	err := w.g.m.step("watch", n.path+"/"+name)
	fd := -1
	if err == nil {
		fd, err = openat(n.fd(), name, unix.O_RDONLY)
	}
	if absentFile(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s/%s: %w", n.path, name, err)
	}
	buf := make([]byte, 4096)
	return w.add(unix.EPOLLPRI, &source{fd, func(w *Watch, s *source) error {
		size, err := retry(func() (int, error) { return unix.Pread(s.fd, buf, 0) })
		if err != nil {
			return fmt.Errorf("read %s/%s: %w", n.path, name, err)
		}
		return read(w, buf[:size])
	}})
}

// eventfd has v1 notify us of an event of a control file. One that the kernel does not have tells nothing.
func (w *Watch) eventfd(n *node, name, argument string, kind EventKind) error {
	fail := func(err error) error {
		if absentFile(err) {
			return nil
		}
		return fmt.Errorf("register for events of %s/%s: %w", n.path, name, err)
	}
	err := w.g.m.step("watch", n.path+"/"+name)
	control := -1
	if err == nil {
		control, err = openat(n.fd(), name, unix.O_RDONLY)
	}
	if err != nil {
		return fail(err)
	}
	defer unix.Close(control)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fail(err)
	}
	err = writeFile(n.fd(), "cgroup.event_control", itoa(int64(fd))+" "+itoa(int64(control))+argument)
	if err != nil {
		_ = unix.Close(fd)
		return fail(err)
	}
	return w.add(unix.EPOLLIN, &source{fd, func(w *Watch, s *source) error {
		var count [8]byte
		_, err := retry(func() (int, error) { return unix.Read(s.fd, count[:]) })
		happened := err == nil
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("read eventfd: %w", err)
		}
		kills, _, _, err := n.oomKills()
		if err != nil {
			return err // the notification was of the group's removal
		}
		if happened {
			w.count(kind, w.counts[kind]+binary.NativeEndian.Uint64(count[:]))
			w.recheck = time.Now().Add(killWait)
		}
		w.count(OOMKill, kills)
		return nil
	}})
}

// v1 notifies before it kills, and then not again. And since Linux 6.11 it does not notify of pids.events.
const (
	killWait = 2 * time.Second
	killNap  = 5 * time.Millisecond
	lookNap  = time.Second
)

func (w *Watch) add(events uint32, s *source) error {
	w.sources = append(w.sources, s)
	raw, err := w.poll.SyscallConn()
	if err == nil {
		ctlErr := raw.Control(func(epoll uintptr) {
			e := unix.EpollEvent{Events: events, Fd: int32(s.fd)}
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, s.fd, &e)
		})
		err = errors.Join(err, ctlErr)
	}
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// count notes how often something has happened so far.
func (w *Watch) count(kind EventKind, n uint64) {
	if n > w.counts[kind] {
		w.counts[kind] = n
		w.queue = append(w.queue, Event{kind, n})
	}
}

func (w *Watch) state(on, off EventKind, is bool) {
	if w.states[on] == is {
		return
	}
	w.states[on] = is
	if !is {
		on = off
	}
	w.queue = append(w.queue, Event{Kind: on})
}

func (w *Watch) readState(b []byte) error {
	keys := parseKeys(b)
	w.state(Populated, Empty, keys["populated"] == 1)
	w.state(Frozen, Thawed, keys["frozen"] == 1)
	return nil
}

func (w *Watch) readPids(b []byte) error {
	w.count(PidsMax, parseKeys(b)["max"])
	return nil
}

func (w *Watch) readMemory(b []byte) error {
	keys := parseKeys(b)
	for _, k := range []struct {
		key  string
		kind EventKind
	}{
		{"high", MemoryHigh}, {"max", MemoryMax}, {"oom", OOM}, {"oom_kill", OOMKill}, {"oom_group_kill", OOMGroupKill},
	} {
		w.count(k.kind, keys[k.key])
	}
	return nil
}

// collect reads all sources. The caller holds the group's mu.
func (w *Watch) collect() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	for _, s := range w.sources {
		err := s.read(w, s)
		if gone(err) {
			w.ended = true // the group was removed
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Next returns the next event. It waits until there is one, or until ctx ends, and returns its error then. The error is
// io.EOF when the Watch or the group was closed, after the last event was told. Several goroutines may call it: each
// event goes to one of them.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	w.waiting.Lock()
	defer w.waiting.Unlock()
	for {
		e, found, ended := w.pop()
		switch {
		case found:
			return e, nil
		case ended:
			return Event{}, io.EOF
		}
		if err := w.wait(ctx); err != nil {
			return Event{}, fmt.Errorf("watch group %s: %w", w.g.name, err)
		}
		if w.g.acquire("watch") != nil {
			continue // it was closed, and Close ended the Watch
		}
		err := w.collect()
		w.g.mu.RUnlock()
		if err != nil {
			return Event{}, fmt.Errorf("watch group %s: %w", w.g.name, err)
		}
	}
}

func (w *Watch) pop() (e Event, found, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return e, false, w.ended
	}
	e, w.queue = w.queue[0], w.queue[1:]
	return e, true, false
}

// wait returns when something happened or may have. It returns an error only if ctx has ended or polling failed.
func (w *Watch) wait(ctx context.Context) error {
	if err := w.poll.SetReadDeadline(w.deadline()); err != nil {
		return w.unlessEnded(err)
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.poll.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	err := w.ready()
	if !stop() {
		<-woken
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return w.unlessEnded(err)
}

// deadline is when the sources are to be read though none is ready; zero is never.
func (w *Watch) deadline() (t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.look {
		t = time.Now().Add(lookNap)
	}
	if now := time.Now(); now.Before(w.recheck) {
		t = now.Add(killNap)
	}
	return t
}

// unlessEnded drops an error that comes from the Watch's end.
func (w *Watch) unlessEnded(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return nil
	}
	return err
}

// ready waits until a source is.
func (w *Watch) ready() error {
	raw, err := w.poll.SyscallConn()
	if err != nil {
		return err
	}
	var waitErr error
	err = raw.Read(func(epoll uintptr) bool {
		var events [4]unix.EpollEvent
		var n int
		n, waitErr = retry(func() (int, error) { return unix.EpollWait(int(epoll), events[:], 0) })
		return n > 0 || waitErr != nil
	})
	return errors.Join(err, waitErr)
}

// Close ends the Watch. A Next that waits returns io.EOF.
func (w *Watch) Close() error {
	w.g.watching.Lock()
	delete(w.g.watches, w)
	w.g.watching.Unlock()
	w.end()
	return nil
}

// end releases the descriptors.
func (w *Watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, s := range w.sources {
		_ = unix.Close(s.fd)
	}
	w.sources = nil
	if w.poll != nil {
		_ = w.poll.Close()
	}
}

// collectWatches has the watches note what happened so far: soon it cannot be read any more.
func (g *Group) collectWatches() {
	if g.acquire("watch") != nil {
		return
	}
	defer g.mu.RUnlock()
	for _, w := range g.allWatches() {
		_ = w.collect()
	}
}

func (g *Group) allWatches() []*Watch {
	g.watching.Lock()
	defer g.watching.Unlock()
	all := make([]*Watch, 0, len(g.watches))
	for w := range g.watches {
		all = append(all, w)
	}
	return all
}

// endWatches ends all watches, when the group is closed.
func (g *Group) endWatches() {
	for _, w := range g.allWatches() {
		_ = w.Close()
	}
}
