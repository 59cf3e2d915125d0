//go:build amd64 || arm64

package namespace

import (
	"bytes"
	"unsafe"
)

func stub()
func stubAddr() uintptr

var _ = stub // it is copied, never called

// stubCode is the interpreter's machine code, out of this program's own text.
func stubCode() []byte {
	const limit = 2048
	addr := stubAddr()
	text := unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), limit)
	if n := bytes.Index(text, endMark); n > 0 {
		return bytes.Clone(text[:n])
	}
	return nil
}
