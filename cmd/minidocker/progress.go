package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/image"
)

// progress shows a pull: on a terminal with a line a layer that is drawn anew with each event, elsewhere with a line when a
// layer is done.
type progress struct {
	out     io.Writer
	carried bool // the image comes from the registry in this program
	width   int  // of the terminal, in characters; zero if it is none
	layers  []digest.Digest
}

func (p *progress) event(e image.Event) {
	switch e.Kind {
	case image.PullingFrom:
		text := e.String()
		if p.carried {
			text += " (carried in this program)"
		}
		say(p.out, "%s", text)
	case image.PulledDigest, image.DownloadedNewer, image.UpToDate:
		say(p.out, "%s", e)
	case image.AlreadyExists, image.PullComplete:
		p.layer(e, true)
	default:
		p.layer(e, false)
	}
}

// layer shows an event of a layer; done says that it is the last.
func (p *progress) layer(e image.Event, done bool) {
	line := e.Digest.Encoded()[:12] + ": " + string(e.Kind)
	if p.width == 0 {
		if done {
			say(p.out, "%s", line)
		}
		return
	}
	if e.Total > 0 && (e.Kind == image.Downloading || e.Kind == image.Extracting) {
		line += " " + bar(e.Current, e.Total, p.width-len(line)-1)
	}
	if len(line) >= p.width {
		line = line[:p.width-1] // a line that is wrapped would spoil the counting of lines
	}
	i := slices.Index(p.layers, e.Digest)
	if i < 0 {
		p.layers = append(p.layers, e.Digest)
		say(p.out, "%s", line)
		return
	}
	up := len(p.layers) - i
	fmt.Fprintf(p.out, "\x1b[%dA\r\x1b[2K%s\x1b[%dB\r", up, line, up)
}

// bar draws how much of total is done, in at most width characters: the numbers, and a bar before them if there is room.
func bar(current, total int64, width int) string {
	current = min(max(current, 0), total)
	numbers := fmt.Sprintf("%8v/%v", units.HumanSize(float64(current)), units.HumanSize(float64(total)))
	room := min(50, width-len(numbers)-6)
	if room < 10 {
		return strings.TrimLeft(numbers, " ")
	}
	full := int(float64(current) / float64(total) * float64(room))
	head := ">"
	if full == room {
		head = ""
	}
	body := strings.Repeat("=", full) + head
	return "[" + body + strings.Repeat(" ", room-len(body)) + "]  " + numbers
}
