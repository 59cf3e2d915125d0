// Package detachkeys finds the keys in what a user types by which they leave a container to itself.
package detachkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Default are the keys where nobody names others.
const Default = "ctrl-p,ctrl-q"

// ErrDetached is what a [Reader] returns when the keys were typed.
var ErrDetached = errors.New("read escape sequence")

// Parse reads keys as Docker's --detach-keys has them: single characters, "ctrl-" and one of a-z@[\]^_, or "DEL", with commas between. There are
// 16 at most. An empty text is no keys.
func Parse(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > 16*len("ctrl-a,") { // before it is part of an error
		return nil, errors.New("invalid detach keys: more than 16")
	}
	var keys []byte
	for _, key := range strings.Split(text, ",") {
		ctrl, isCtrl := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(key) == 1 && key[0] < 0x80:
			keys = append(keys, key[0])
		case key == "DEL":
			keys = append(keys, 127)
		case isCtrl && len(ctrl) == 1 && ctrl[0] >= 'a' && ctrl[0] <= 'z':
			keys = append(keys, ctrl[0]-'a'+1)
		case isCtrl && len(ctrl) == 1 && strings.Contains(`@[\]^_`, ctrl):
			keys = append(keys, ctrl[0]-'@')
		default:
			return nil, fmt.Errorf("invalid detach keys (%s): %q is neither a character nor ctrl- and one of a-z@[\\]^_, nor DEL", text, key)
		}
	}
	if len(keys) > 16 {
		return nil, fmt.Errorf("invalid detach keys (%s): more than 16", text)
	}
	return keys, nil
}

// A Reader reads what is typed. Of keys that may be the first of Keys nothing is returned until it is known what follows them. When all
// were typed, one after the other, what was typed before has been returned, and Read returns ErrDetached from then on.
type Reader struct {
	R    io.Reader
	Keys []byte // none are never found

	held  []byte // the last that was read, which is a beginning of the keys
	ready []byte // to be returned
	err   error  // after it
	buf   [4096]byte
}

// Read implements io.Reader.
func (r *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.R.Read(r.buf[:])
		r.ready = r.ready[:0]
		for i := 0; i < n && r.err == nil; i++ {
			r.typed(r.buf[i])
		}
		if err != nil && r.err == nil {
			r.ready = append(r.ready, r.held...)
			r.err = err
		}
	}
	n := copy(b, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

func (r *Reader) typed(c byte) {
	for r.held = append(r.held, c); !bytes.HasPrefix(r.Keys, r.held); r.held = r.held[1:] {
		r.ready = append(r.ready, r.held[0])
	}
	if len(r.Keys) > 0 && len(r.held) == len(r.Keys) {
		r.err = ErrDetached
	}
}
