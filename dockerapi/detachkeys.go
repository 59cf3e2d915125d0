package dockerapi

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// defaultDetachKeys are ctrl-p, ctrl-q.
var defaultDetachKeys = []byte{16, 17}

// errDetached is returned when a client has typed the keys that end its connection.
var errDetached = errors.New("detached")

// parseDetachKeys reads keys as Docker writes them: "ctrl-p,ctrl-q", "a,DEL". The default is for an empty text.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return defaultDetachKeys, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		control, isControl := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(key) == 1:
			keys = append(keys, key[0])
		case key == "DEL":
			keys = append(keys, 127)
		case isControl && len(control) == 1 && (control[0] == '@' || control[0] >= 'a' && control[0] <= 'z' || control[0] >= '[' && control[0] <= '_'):
			keys = append(keys, control[0]&0x1f)
		default:
			return nil, badRequest("invalid detachKeys: unknown key %q", key)
		}
	}
	return keys, nil
}

// copyUntil copies what a client types until that ends, or errDetached when it has typed the keys, which are not copied.
func copyUntil(to io.Writer, from io.Reader, keys []byte) error {
	typed := 0 // so many of the keys
	in := make([]byte, 32<<10)
	for {
		n, err := from.Read(in)
		var out []byte
		for _, b := range in[:n] {
			held := append(keys[:typed:typed], b)
			for !bytes.HasPrefix(keys, held) { // what cannot be the beginning of the keys goes through
				out, held = append(out, held[0]), held[1:]
			}
			if typed = len(held); typed == len(keys) {
				_, _ = to.Write(out)
				return errDetached
			}
		}
		if err != nil { // the rest was no keys
			out = append(out, keys[:typed]...)
		}
		if _, e := to.Write(out); e != nil {
			return e
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
