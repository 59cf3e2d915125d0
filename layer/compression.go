package layer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caisson-engine/caisson/internal/inflate"
)

// compression is how a layer's stream is compressed.
type compression string

const (
	plain     compression = "uncompressed"
	gzipped   compression = "gzip"
	zstandard compression = "zstd"
	unknown   compression = ""
)

// magics are the first bytes of streams that are not tar. Those without a decoder are here for the message.
var magics = []struct {
	bytes []byte
	is    compression
}{
	{[]byte{0x1f, 0x8b}, gzipped},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, zstandard},
	{[]byte{'B', 'Z', 'h'}, "bzip2"},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, "xz"},
	{[]byte{0x5d, 0, 0}, "lzma"},
	{[]byte{0x04, 0x22, 0x4d, 0x18}, "lz4"},
}

// detect returns a stream's compression by its first bytes.
func detect(head []byte) compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.bytes) {
			return m.is
		}
	}
	// a skippable frame of zstd
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return zstandard
	}
	return plain
}

// declared returns the compression that a layer's media type stands for; unknown for the empty one.
func declared(mediaType string) (compression, error) {
	switch t, _, _ := strings.Cut(mediaType, ";"); strings.TrimSpace(t) {
	case "":
		return unknown, nil
	case "application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/x-tar":
		return plain, nil
	case "application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return gzipped, nil
	case "application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar.zstd":
		return zstandard, nil
	}
	return unknown, fmt.Errorf("layer of media type %q: not implemented: %w", mediaType, errors.ErrUnsupported)
}

// sniff returns a reader of r, and how r is compressed. want is what was said of it.
func sniff(r io.Reader, want compression) (io.Reader, compression, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, unknown, fmt.Errorf("read layer: %w", err)
	}
	is := detect(head)
	if want != unknown && is != want {
		return nil, unknown, fmt.Errorf("layer's media type says %s, but its content is %s", want, is)
	}
	return br, is, nil
}

// An input is a stream that is to be inflated.
type input struct {
	r         io.Reader
	is        compression
	maxWindow uint64
	verified  bool         // what comes out is compared with a digest: checksums of zstd's frames say nothing more
	whole     func() error // see ExtractOptions
}

// inflate returns a reader of the uncompressed stream, and the function that frees it. ctx bounds waiting for a turn.
func (d *decoders) inflate(ctx context.Context, in input) (io.Reader, func(), error) {
	switch in.is {
	case gzipped:
		z, err := inflate.NewReader(in.r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() {}, nil
	case zstandard:
		z, err := d.open(ctx, &frameReader{r: bufio.NewReaderSize(in.r, 64<<10)}, in)
		if err != nil {
			return nil, nil, err
		}
		return z, z.close, nil
	}
	return nil, nil, fmt.Errorf("layer compressed by %s: not implemented: %w", in.is, errors.ErrUnsupported)
}
