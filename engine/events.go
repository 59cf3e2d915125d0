package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/registry"
)

// The types of events.
const (
	ContainerEvent = "container"
	ImageEvent     = "image"
	NetworkEvent   = "network"
	VolumeEvent    = "volume"
)

// An Event is something that happened to a container, an image, a network or a volume of the engine's folder, whichever program did it.
type Event struct {
	Time time.Time
	// Type is [ContainerEvent] or another one of these.
	Type string
	// Action is Docker's word: "create", "start", "die", "kill", "oom", "stop", "destroy", "pull", "connect".
	Action string
	// ID is a container's, an image's or a network's, or a volume's name.
	ID string
	// Attributes say more: a container's name, image and labels, the exitCode of "die", the signal of "kill", the container of "connect".
	Attributes map[string]string `json:",omitempty"`
}

const (
	// maxEvents is the size of the file of events, in bytes, at which another one is begun. The one before it is kept.
	maxEvents = 1 << 20
	// maxEvent is the size of an event, in bytes, from which on its attributes are left out: labels can be long.
	maxEvent = 32 << 10
	// maxEventWord is the size of an action or an ID, in bytes, at which it is cut off: a command that is executed is part of its action.
	maxEventWord = 2 << 10
	// eventPoll is how often a reader looks for events of other programs.
	eventPoll = 100 * time.Millisecond
)

// A bell wakes the readers of this program when it has written an event.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

func (e *Engine) eventsPath(elem string) string { return filepath.Join(e.dir, "events", elem) }

// Note adds an event that the engine does not see, such as a command that is executed in a container. The time is now's. What cannot be
// written is lost, which the log says.
func (e *Engine) Note(typ, action, id string, attributes map[string]string) {
	ev := &Event{
		Time: time.Now().UTC(), Type: typ, Action: action[:min(len(action), maxEventWord)], ID: id[:min(len(id), maxEventWord)], Attributes: attributes,
	}
	if err := e.appendEvent(ev); err != nil {
		e.log.Warn("event", "type", typ, "action", action, "id", id, "error", err)
	}
	e.bell.ring()
}

// appendEvent writes an event to the file. The lock keeps two events from being mixed, and the file from being exchanged meanwhile.
func (e *Engine) appendEvent(ev *Event) (err error) {
	line, err := json.Marshal(ev)
	if err == nil && len(line) > maxEvent {
		short := *ev
		short.Attributes = nil
		line, err = json.Marshal(&short)
	}
	if err != nil {
		return err
	}
	l, err := durable.Acquire(context.Background(), e.eventsPath("lock"), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	path := e.eventsPath("log")
	var size int64
	if st, err := os.Stat(path); err == nil {
		size = st.Size()
	}
	if size >= maxEvents {
		if err := os.Rename(path, e.eventsPath("log.1")); err != nil {
			return err
		}
		size = 0
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line = append(line, '\n')
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // what a loss of power, or a full disk, has left is a line of its own
			line = append([]byte{'\n'}, line...)
		}
	}
	_, err = f.Write(line)
	return err
}

// note adds an event of a container.
func (e *Engine) note(action string, c *Container, more ...string) {
	a := maps.Clone(c.Labels)
	if a == nil {
		a = make(map[string]string)
	}
	a["name"], a["image"] = c.Name, c.Config.Image
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	e.Note(ContainerEvent, action, c.ID, a)
}

// noteEnd adds the events of a container's end, which is written down, or is about to be with the container's removal.
func (e *Engine) noteEnd(c *Container) {
	if c.State.OOMKilled {
		e.note("oom", c)
	}
	ran := c.State.Finished.Sub(c.State.Started)
	e.note("die", c, "exitCode", strconv.Itoa(c.State.ExitCode), "execDuration", strconv.Itoa(int(ran.Seconds())))
	for _, at := range c.Networks {
		e.noteConnection("disconnect", c.ID, at.Network)
	}
}

func (e *Engine) noteConnection(action, container, name string) {
	n, err := e.networks.Get(name)
	if err != nil {
		n.ID = name // it is removed
	}
	e.Note(NetworkEvent, action, n.ID, map[string]string{"container": container, "name": name, "type": string(n.Driver)})
}

// noteImage adds an event of an image.
func (e *Engine) noteImage(action, id, ref string) {
	e.Note(ImageEvent, action, id, map[string]string{"name": registry.Familiar(ref)})
}

// noteRemoved adds the events of images that are removed.
func (e *Engine) noteRemoved(r *image.Removed) {
	if r == nil {
		return
	}
	for _, name := range r.Untagged {
		e.noteImage("untag", name, name)
	}
	for _, id := range r.Images {
		e.Note(ImageEvent, "delete", id.String(), map[string]string{"name": id.String()})
	}
}

func (e *Engine) noteNetwork(action string, n *network.Network) {
	e.Note(NetworkEvent, action, n.ID, map[string]string{"name": n.Name, "type": string(n.Driver)})
}

// An EventReader reads events in the order in which they happened.
type EventReader struct {
	e     *Engine
	since time.Time
	f     *os.File
	rest  []byte // what is read and not returned yet
	skip  bool   // until the next line: this one is none of an event
}

// OpenEvents returns a reader of what happens from now on, or of what is remembered since a time that is not zero, and what happens after
// that: of some thousand events the last ones are.
func (e *Engine) OpenEvents(since time.Time) (*EventReader, error) {
	l, err := durable.Acquire(context.Background(), e.eventsPath("lock"), true)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	r := &EventReader{e: e, since: since}
	name := "log"
	if !since.IsZero() {
		if _, err := os.Lstat(e.eventsPath("log.1")); err == nil {
			name = "log.1"
		}
	}
	r.f, err = os.OpenFile(e.eventsPath(name), os.O_RDONLY|os.O_CREATE, 0o600)
	if err == nil && since.IsZero() {
		_, err = r.f.Seek(0, io.SeekEnd)
	}
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("events: %w", err), r.Close())
	}
	return r, nil
}

// Close closes the reader.
func (r *EventReader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// Next waits for the next event until ctx ends.
func (r *EventReader) Next(ctx context.Context) (*Event, error) {
	for {
		rung := r.e.bell.next()
		ev, err := r.TryNext()
		if ev != nil || err != nil {
			return ev, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-rung:
		case <-time.After(eventPoll):
		}
	}
}

// TryNext returns the next event, or nil if it has not happened yet.
func (r *EventReader) TryNext() (*Event, error) {
	for {
		line, err := r.line()
		if line == nil || err != nil {
			return nil, err
		}
		ev := &Event{}
		if json.Unmarshal(line, ev) != nil || ev.Type == "" || ev.Time.Before(r.since) { // the first is what a loss of power left
			continue
		}
		return ev, nil
	}
}

// line returns the next line, or nil if there is none yet.
func (r *EventReader) line() ([]byte, error) {
	exchanged := false
	for {
		if line, rest, ok := bytes.Cut(r.rest, []byte("\n")); ok {
			r.rest = rest
			if !r.skip {
				return line, nil
			}
			r.skip = false
			continue
		}
		if len(r.rest) > maxEvent { // no line of ours
			r.skip, r.rest = true, nil
		}
		b := make([]byte, 32<<10)
		n, err := r.f.Read(b)
		r.rest = append(bytes.Clone(r.rest), b[:n]...)
		switch {
		case n > 0:
			continue
		case !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("events: %w", err)
		case exchanged: // nobody writes to this one any more, and its end is read
			if err := r.turn(); err != nil {
				return nil, err
			}
			exchanged = false
			continue
		}
		if same, err := r.isAt("log"); err != nil {
			return nil, err
		} else if same {
			cut, err := r.cutOff()
			if err != nil || !cut {
				return nil, err
			}
			continue
		}
		exchanged = true
	}
}

// cutOff says whether somebody has cut the file off before where it is read. Then it is read from its beginning.
func (r *EventReader) cutOff() (bool, error) {
	st, err := r.f.Stat()
	if err != nil {
		return false, fmt.Errorf("events: %w", err)
	}
	at, err := r.f.Seek(0, io.SeekCurrent)
	if err != nil || st.Size() >= at {
		return false, err
	}
	r.rest, r.skip = nil, false
	_, err = r.f.Seek(0, io.SeekStart)
	return err == nil, err
}

// turn goes on with the next file.
func (r *EventReader) turn() error {
	next := "log"
	if last, err := r.isAt("log.1"); err == nil && !last { // there were two meanwhile
		next = "log.1"
	}
	f, err := os.Open(r.e.eventsPath(next))
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	err = r.f.Close()
	r.f, r.rest, r.skip = f, nil, false
	return err
}

func (r *EventReader) isAt(name string) (bool, error) {
	now, err := os.Stat(r.e.eventsPath(name))
	if errors.Is(err, fs.ErrNotExist) { // the next one is not begun yet
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("events: %w", err)
	}
	own, err := r.f.Stat()
	if err != nil {
		return false, fmt.Errorf("events: %w", err)
	}
	return os.SameFile(now, own), nil
}
