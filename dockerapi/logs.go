package dockerapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/namespace"
)

// parseTime reads a time as Docker does: seconds since 1970 with nanoseconds behind a point, RFC 3339, or how long ago.
func parseTime(s string) (time.Time, error) {
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	whole, rest, _ := strings.Cut(s, ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n >= 0 && n < math.MaxInt64/int64(time.Second) {
		nanos, err := strconv.ParseInt((rest + "000000000")[:max(9, min(len(rest), 9))], 10, 64)
		if err == nil && nanos >= 0 {
			return time.Unix(n, nanos), nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, badRequest("invalid time: %q", s)
}

// logs sends what a container has printed, by all its starts.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	p := &logPrinter{streams: wanted(q), times: q.bool("timestamps"), details: q.bool("details")}
	if p.streams == [2]bool{} {
		return badRequest("Bad parameters: you must choose at least one stream")
	}
	var err error
	if p.since, err = parseTime(q.Get("since")); err != nil {
		return err
	}
	if p.until, err = parseTime(q.Get("until")); err != nil {
		return err
	}
	tail := -1
	if text := q.Get("tail"); text != "" && text != "all" {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			tail = n
		}
	}
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	if c.State.Started.IsZero() { // nothing was printed
		stream(w, types.MediaTypeRawStream)
		return nil
	}
	log, err := s.Engine.Log(r.Context(), c.ID)
	if err != nil {
		return err
	}
	defer log.Close()
	kind := types.MediaTypeRawStream
	if !c.Config.TTY && versionOf(r) >= mustVersion("1.42") {
		kind = types.MediaTypeMultiplexedStream
	}
	p.to = &multiplexer{w: stream(w, kind), raw: c.Config.TTY}
	if tail >= 0 {
		err = p.tail(log, tail)
	} else {
		err = p.print(log.Next)
	}
	if err == nil && q.bool("follow") && !p.over() {
		err = p.print(func() (*namespace.Frame, error) { return log.Follow(r.Context()) })
	}
	return err
}

// A logPrinter writes frames to a client.
type logPrinter struct {
	to           *multiplexer
	streams      [2]bool
	times        bool
	details      bool // of the log's options, of which there are none: what is before the line is their end
	since, until time.Time
	begun        [2]bool // by stream: something of the line at hand is sent
}

func (p *logPrinter) over() bool { return !p.until.IsZero() && time.Now().After(p.until) }

// wants says whether a frame is to be sent, and whether there can be none after it.
func (p *logPrinter) wants(f *namespace.Frame) (wanted, last bool) {
	if !p.until.IsZero() && f.Time.After(p.until) {
		return false, true
	}
	return p.streams[f.Stream&1] && !f.Time.Before(p.since), false
}

// print sends what next gives until that ends.
func (p *logPrinter) print(next func() (*namespace.Frame, error)) error {
	for {
		f, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		wanted, last := p.wants(f)
		if last {
			return nil
		}
		if !wanted {
			continue
		}
		if err := p.frame(f); err != nil {
			return err
		}
	}
}

func (p *logPrinter) frame(f *namespace.Frame) error {
	if !p.times && !p.details {
		_, err := p.to.write(f.Stream, f.Data)
		return err
	}
	var b bytes.Buffer
	for line := range bytes.Lines(f.Data) {
		begun := &p.begun[f.Stream&1]
		if !*begun && p.times {
			b.WriteString(f.Time.UTC().Format(engine.LogTime) + " ")
		}
		if !*begun && p.details {
			b.WriteByte(' ')
		}
		b.Write(line)
		*begun = line[len(line)-1] != '\n'
	}
	_, err := p.to.write(f.Stream, b.Bytes())
	return err
}

// tail sends the last n lines of what there is.
func (p *logPrinter) tail(log *namespace.LogReader, n int) error {
	var last []*namespace.Frame   // a line each
	var begun [2]*namespace.Frame // by stream: a line that was not written at once
	for {
		f, err := log.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		wanted, end := p.wants(f)
		if end {
			break
		}
		if !wanted {
			continue
		}
		for line := range bytes.Lines(f.Data) {
			l := begun[f.Stream&1]
			if l != nil {
				l.Data = append(l.Data, line...)
			} else {
				l = &namespace.Frame{Stream: f.Stream, Time: f.Time, Data: bytes.Clone(line)}
				last = append(last, l)
			}
			if begun[f.Stream&1] = l; line[len(line)-1] == '\n' {
				begun[f.Stream&1] = nil
			}
			if len(last) > n {
				last = last[1:]
			}
		}
	}
	for _, f := range last {
		if err := p.frame(f); err != nil {
			return err
		}
	}
	return nil
}
