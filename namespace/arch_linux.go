package namespace

import "encoding/binary"

// firstByte masks the byte of a word that comes first in memory.
var firstByte = func() uint64 { return uint64(binary.NativeEndian.Uint64([]byte{0xff, 0, 0, 0, 0, 0, 0, 0})) }()
