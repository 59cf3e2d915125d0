package layer

import (
	"bufio"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// smallWindow is the zstd window, in bytes, that every stream may have at once. Encoders keep to it up to level 19, and
// RFC 8878 recommends it. Streams with larger ones take turns, so that memory has a bound.
const smallWindow = 8 << 20

// zstdHeader is the longest header of a frame with that of its first block behind it.
const zstdHeader = 18 + 3

// A frameReader reads a zstd stream, and asks gate at each frame whose window is a large one, before its header is passed
// on: the decoder allocates when it sees that.
type frameReader struct {
	r    *bufio.Reader
	gate func() error

	left     uint64 // bytes to pass on before the next header
	inFrame  bool
	last     bool // the block before was the frame's last
	checksum bool
}

// Read implements io.Reader.
func (f *frameReader) Read(p []byte) (int, error) {
	for f.left == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n, err := f.r.Read(p[:min(uint64(len(p)), f.left)])
	f.left -= uint64(n)
	return n, err
}

// next looks at the header of a frame or a block. What is damaged is passed on to the decoder, which says so.
func (f *frameReader) next() error {
	switch {
	case !f.inFrame:
		return f.frame()
	case f.last:
		f.inFrame = false
		if f.checksum {
			f.left = 4
		}
		return nil
	}
	b, err := f.r.Peek(3)
	if err != nil {
		f.left = math.MaxUint64
		return nil
	}
	header := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16
	f.last = header&1 != 0
	if f.left = 3 + header>>3; header>>1&3 == 1 { // one byte, repeated
		f.left = 4
	}
	return nil
}

// header looks at a frame's header, and says whether it is one.
func (f *frameReader) header() (h zstd.Header, ok bool, err error) {
	b, err := f.r.Peek(zstdHeader)
	if len(b) == 0 {
		return h, false, err
	}
	return h, h.Decode(b) == nil && h.HeaderSize > 0, nil
}

// firstWindow returns the window of the first frame, 0 if there is none.
func (f *frameReader) firstWindow() uint64 {
	h, ok, err := f.header()
	if !ok || err != nil {
		return 0
	}
	return window(&h)
}

func window(h *zstd.Header) uint64 {
	switch {
	case h.Skippable:
		return 0
	case h.SingleSegment:
		return h.FrameContentSize
	}
	return h.WindowSize
}

func (f *frameReader) frame() error {
	h, ok, err := f.header()
	if err != nil {
		return err
	}
	if !ok {
		f.left = math.MaxUint64
		return nil
	}
	f.left = uint64(h.HeaderSize)
	if h.Skippable {
		f.left += uint64(h.SkippableSize)
		return nil
	}
	f.inFrame, f.last, f.checksum = true, false, h.HasCheckSum
	if window(&h) > smallWindow {
		return f.gate()
	}
	return nil
}

var _ io.Reader = (*frameReader)(nil)
