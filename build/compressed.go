package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decompressed inflates a stream by its first bytes; end releases what that takes.
func decompressed(r io.Reader) (_ io.Reader, end func(), err error) {
	b := bufio.NewReaderSize(r, 1<<15)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(b), func() {}, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, nil, fmt.Errorf("it is compressed by xz, which is not implemented: %w", errors.ErrUnsupported)
	}
	return b, func() {}, nil
}

// isArchive says whether a file is a tar archive, plain or compressed. One compressed by xz is an error.
func isArchive(r io.Reader) (bool, error) {
	in, end, err := decompressed(r)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, err
	}
	if err != nil {
		return false, nil
	}
	defer end()
	_, err = tar.NewReader(in).Next()
	return err == nil, nil
}

// IsArchive says whether what a reader has next is a tar stream, plain or compressed, rather than a Dockerfile. It takes nothing off the
// reader, whose buffer should have 4 KiB.
func IsArchive(r *bufio.Reader) bool {
	head, _ := r.Peek(1024)
	for _, magic := range []string{"\x1f\x8b\x08", "BZh", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil
}
