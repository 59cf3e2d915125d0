package image

import (
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Kind says what happened to a layer, or in a pull as a whole, in Docker's words.
type Kind string

const (
	// PullingFrom comes first: Ref is the repository, Tag the tag or digest that is pulled.
	PullingFrom Kind = "Pulling from"
	// PullingLayer comes once for each layer, the lowest first, before anything else of it.
	PullingLayer Kind = "Pulling fs layer"
	// AlreadyExists says that a layer was in the store.
	AlreadyExists Kind = "Already exists"
	// Waiting says that another process pulls the layer now.
	Waiting Kind = "Waiting"
	// Downloading has the bytes received so far and in all. It comes at most ten times a second for a layer.
	Downloading Kind = "Downloading"
	// DownloadComplete says that all of a layer came, with the right digest.
	DownloadComplete Kind = "Download complete"
	// Extracting has the compressed bytes that were read so far and in all, of a layer that is in the store but not
	// extracted; for one that is fetched it comes when it was, since both go side by side.
	Extracting Kind = "Extracting"
	// PullComplete says that a layer is durably in the store, extracted.
	PullComplete Kind = "Pull complete"
	// PulledDigest has the digest of what was pulled.
	PulledDigest Kind = "Digest"
	// DownloadedNewer comes last: the image is in the store now.
	DownloadedNewer Kind = "Downloaded newer image for"
	// UpToDate comes last when nothing was to be done.
	UpToDate Kind = "Image is up to date for"
)

// An Event is a step of a pull.
type Event struct {
	Kind           Kind
	Ref            string        // the repository for PullingFrom, the familiar name for the last event
	Tag            string        // for PullingFrom
	Digest         digest.Digest // of the layer, compressed, or for PulledDigest of the image
	Current, Total int64         // bytes, for Downloading and Extracting
}

// String returns the event as docker pull prints it when its output is no terminal.
func (e Event) String() string {
	switch e.Kind {
	case PullingFrom:
		return e.Tag + ": Pulling from " + e.Ref
	case PulledDigest:
		return "Digest: " + e.Digest.String()
	case DownloadedNewer, UpToDate:
		return "Status: " + string(e.Kind) + " " + e.Ref
	case Downloading, Extracting:
		if e.Total > 0 {
			return fmt.Sprintf("%s: %s %d/%d", short(e.Digest), e.Kind, e.Current, e.Total)
		}
	}
	return short(e.Digest) + ": " + string(e.Kind)
}

// progress passes events on, one at a time.
type progress struct {
	mu sync.Mutex
	f  func(Event)
}

func (p *progress) send(e Event) {
	if p == nil || p.f == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.f(e)
}

// A meter counts a layer's bytes and tells of them now and then.
type meter struct {
	p     *progress
	event Event
	last  time.Time
}

const meterEvery = 100 * time.Millisecond

func (m *meter) add(n int) {
	m.event.Current += int64(n)
	if m.p == nil || m.p.f == nil {
		return
	}
	if now := time.Now(); now.Sub(m.last) >= meterEvery {
		m.last = now
		m.p.send(m.event)
	}
}
