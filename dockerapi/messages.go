package dockerapi

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/caisson-engine/caisson/image"
)

// Messages are an answer of lines of JSON, sent as they come. Its status is that of the error, if one comes before all else.
type messages struct {
	w     http.ResponseWriter
	mu    sync.Mutex
	begun bool
}

// An errorLine is the last line. ErrorText is the error for old clients.
type errorLine struct {
	jsonstream.Message
	ErrorText string `json:"error,omitempty"`
}

// send sends a line; who does not want it has hung up.
func (m *messages) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.begun {
		m.begun = true
		m.w.Header().Set("Content-Type", "application/json")
		m.w.WriteHeader(http.StatusOK)
	}
	_, _ = m.w.Write(append(b, '\r', '\n'))
	_ = http.NewResponseController(m.w).Flush()
}

func (m *messages) status(text string) { m.send(&jsonstream.Message{Status: text}) }

// aux sends what is for programs.
func (m *messages) aux(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	raw := json.RawMessage(b)
	m.send(&struct {
		Progress struct{}         `json:"progressDetail"`
		Aux      *json.RawMessage `json:"aux"`
	}{Aux: &raw})
	return nil
}

// end ends the answer: an error is its last line, or is returned if nothing was sent.
func (m *messages) end(err error) error {
	m.mu.Lock()
	begun := m.begun
	m.mu.Unlock()
	if err == nil && !begun {
		m.w.Header().Set("Content-Type", "application/json")
		m.w.WriteHeader(http.StatusOK)
	}
	if err == nil || !begun {
		return err
	}
	text := message(err)
	m.send(&errorLine{jsonstream.Message{Error: &jsonstream.Error{Code: status(err), Message: text}}, text})
	return nil
}

// event sends a step of a pull or a push.
func (m *messages) event(e image.Event) {
	line := jsonstream.Message{Status: string(e.Kind)}
	switch e.Kind {
	case image.PullingFrom:
		line.Status, line.ID = string(e.Kind)+" "+e.Ref, e.Tag
	case image.PulledDigest, image.DownloadedNewer, image.UpToDate:
		line.Status = e.String()
	default:
		line.ID, line.Progress = shortID(e.Digest.Encoded()), &jsonstream.Progress{}
		switch e.Kind {
		case image.Downloading, image.Extracting, image.Pushing:
			line.Progress.Current, line.Progress.Total = e.Current, e.Total
		}
	}
	m.send(&line)
}

// held returns event, but for the first step of a pull, which says nothing of whether there is such an image: it is sent with the next.
func (m *messages) held() func(image.Event) {
	var first *image.Event
	return func(e image.Event) {
		if e.Kind == image.PullingFrom {
			first = &e
			return
		}
		if first != nil {
			m.event(*first)
			first = nil
		}
		m.event(e)
	}
}

func shortID(id string) string { return id[:min(12, len(id))] }
