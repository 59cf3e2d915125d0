package dockerapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types/events"

	"github.com/caisson-engine/caisson/engine"
)

// events sends what happens, and what happened since a time.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	f, err := q.filters("container", "daemon", "event", "image", "label", "network", "type", "volume", "scope", "config", "node", "plugin", "secret", "service")
	if err != nil {
		return err
	}
	since, err := parseTime(q.Get("since"))
	if err != nil {
		return err
	}
	until, err := parseTime(q.Get("until"))
	if err != nil {
		return err
	}
	ctx := r.Context()
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	all, err := s.Engine.OpenEvents(since)
	if err != nil {
		return err
	}
	defer all.Close()
	out := json.NewEncoder(stream(w, "application/json"))
	for {
		ev, err := all.Next(ctx)
		switch {
		case err != nil && r.Context().Err() == nil && ctx.Err() != nil: // all that was until then has come
			return nil
		case err != nil:
			return err
		case !until.IsZero() && ev.Time.After(until):
			return nil
		case !f.event(ev):
			continue
		}
		m := &events.Message{
			Type: events.Type(ev.Type), Action: events.Action(ev.Action), Actor: events.Actor{ID: ev.ID, Attributes: ev.Attributes},
			Scope: "local", Time: ev.Time.Unix(), TimeNano: ev.Time.UnixNano(),
		}
		if m.Actor.Attributes == nil {
			m.Actor.Attributes = map[string]string{}
		}
		if err := out.Encode(legacy(m)); err != nil {
			return nil // the client has hung up
		}
	}
}

// A legacyMessage has the fields too that clients before version 1.52 read.
type legacyMessage struct {
	*events.Message
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
}

func legacy(m *events.Message) *legacyMessage {
	l := &legacyMessage{Message: m}
	if m.Type == events.ContainerEventType || m.Type == events.ImageEventType {
		l.Status, l.ID, l.From = string(m.Action), m.Actor.ID, m.Actor.Attributes["image"]
	}
	return l
}

// event says whether an event is wanted.
func (f filters) event(ev *engine.Event) bool {
	named := func(typ string) bool {
		return f.allows(typ, func(v string) bool {
			name := ev.Attributes["name"]
			return ev.Type == typ && (ev.ID == v || name == v || len(v) >= 4 && strings.HasPrefix(ev.ID, v) || typ == engine.ImageEvent && strings.TrimSuffix(name, ":latest") == v) ||
				typ == engine.ContainerEvent && ev.Attributes["container"] != "" && ev.Attributes["container"] == v
		})
	}
	action, _, _ := strings.Cut(ev.Action, ":")
	return f.allows("type", func(v string) bool { return v == ev.Type }) &&
		f.allows("event", func(v string) bool { return v == ev.Action || v == action }) &&
		f.allows("scope", func(v string) bool { return v == "local" }) &&
		named(engine.ContainerEvent) && named(engine.ImageEvent) && named(engine.NetworkEvent) && named(engine.VolumeEvent) &&
		len(f["daemon"])+len(f["config"])+len(f["node"])+len(f["plugin"])+len(f["secret"])+len(f["service"]) == 0 &&
		f.labels(ev.Attributes)
}
