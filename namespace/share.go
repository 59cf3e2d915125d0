package namespace

import "io"

// A shareLog is one stream of a Share's log. To write to it never fails.
type shareLog struct {
	s      *Share
	stream Stream
}

func (w shareLog) Write(b []byte) (int, error) {
	w.s.write(w.stream, b)
	return len(b), nil
}

// Log returns what appends to a stream of the log, as a keeper would: what cannot be written, because the disk is full, is lost, and that
// is no error. It may be used by several goroutines.
func (s *Share) Log(stream Stream) io.Writer { return shareLog{s, stream} }

// validateFolder is what is asked of a Keep's folder and log.
func (k *Keep) validateFolder() error {
	switch {
	case k.Dir == "":
		return bad("Keep.Dir", "no folder")
	case k.LogSize != 0 && (k.LogSize < minLogSize || k.LogSize > maxLogSize):
		return bad("Keep.LogSize", "%d is not between %d and %d bytes", k.LogSize, minLogSize, int64(maxLogSize))
	}
	return nil
}
