package layer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func gzipOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstdOf(t testing.TB, data []byte, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, o...)
	require.NoError(t, err)
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// requireNoTemp is that nothing is left of what failed.
func requireNoTemp(t testing.TB, s *Store) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(s.dir, tempName))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDigest(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	data := append(newTar(t, file("f", "x")), []byte("what follows the archive's end")...)
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		want := a.FromBytes(data)
		l, err := s.Add(t.Context(), bytes.NewReader(gzipOf(t, data)), &ExtractOptions{DiffID: want})
		require.NoError(t, err)
		require.Equal(t, want, l.DiffID)
		got, err := s.Get(want)
		require.NoError(t, err)
		require.Equal(t, l, got)
	}
	wrong := digest.FromString("something else")
	_, err := s.Extract(t.Context(), bytes.NewReader(data), &ExtractOptions{DiffID: wrong})
	require.ErrorIs(t, err, ErrDigest)
	_, err = s.Get(wrong)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, bad := range []digest.Digest{"sha256:../../x", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e",
		"../x", "tmp:x"} {
		_, err := s.Extract(t.Context(), bytes.NewReader(data), &ExtractOptions{DiffID: bad})
		require.Error(t, err, bad)
		_, err = s.Get(bad)
		require.Error(t, err, bad)
		require.Error(t, s.Remove(t.Context(), bad), bad)
	}
	requireNoTemp(t, s)
	layers, err := s.List()
	require.NoError(t, err)
	require.Len(t, layers, 2)
	for _, l := range layers {
		require.NoError(t, s.Remove(t.Context(), l.DiffID))
		require.ErrorIs(t, s.Remove(t.Context(), l.DiffID), ErrNotFound)
	}
	requireNoTemp(t, s)
}

func TestCompression(t *testing.T) {
	testenv.RequireRoot(t)
	const oci = "application/vnd.oci.image.layer.v1.tar"
	const docker = "application/vnd.docker.image.rootfs.diff.tar"
	data := newTar(t, file("f", strings.Repeat("x", 1<<20)))
	half := len(data) / 2
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	for _, c := range []struct {
		name, mediaType string
		data            []byte
		want            string // "" for success
	}{
		{"plain", oci, data, ""},
		{"plain of Docker", docker, data, ""},
		{"gzip", oci + "+gzip", gzipOf(t, data), ""},
		{"gzip of Docker", docker + ".gzip", gzipOf(t, data), ""},
		{"gzip in two members", "", append(gzipOf(t, data[:half]), gzipOf(t, data[half:])...), ""},
		{"zstd", oci + "+zstd", zstdOf(t, data), ""},
		{"zstd in two frames", oci + "+zstd", append(zstdOf(t, data[:half]), zstdOf(t, data[half:])...), ""},
		{"zstd after a skippable frame", "", append(skippable, zstdOf(t, data)...), ""},
		{"nothing", "", nil, ""},
		{"gzip said to be plain", oci, gzipOf(t, data), "says uncompressed, but its content is gzip"},
		{"plain said to be gzip", oci + "+gzip", data, "says gzip, but its content is uncompressed"},
		{"zstd said to be gzip", oci + "+gzip", zstdOf(t, data), "says gzip, but its content is zstd"},
		{"encrypted", oci + "+gzip+encrypted", gzipOf(t, data), "not implemented"},
		{"xz", "", []byte("\xfd7zXZ\x00abcdef"), "compressed by xz: not implemented"},
		{"gzip cut off", "", gzipOf(t, data)[:200], "unexpected EOF"},
		{"gzip cut in its header", "", gzipOf(t, data)[:5], "EOF"},
		{"gzip with garbage after it", "", append(gzipOf(t, data), "garbage after it"...), "gzip: invalid header"},
		{"gzip with a wrong checksum", "", spoil(gzipOf(t, data), -6), "checksum"},
		{"zstd cut off", "", zstdOf(t, data)[:30], "EOF"},
		{"zstd with a wrong checksum", "", spoil(zstdOf(t, data), -1), "CRC"},
		{"plain cut off", "", data[:len(data)/2], "unexpected EOF"},
		{"no tar", "", []byte(strings.Repeat("no tar ", 1000)), "invalid tar header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			p, err := s.Extract(t.Context(), iotest.HalfReader(bytes.NewReader(c.data)),
				&ExtractOptions{MediaType: c.mediaType})
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				requireNoTemp(t, s)
				return
			}
			require.NoError(t, err)
			require.NoError(t, p.Discard())
			require.NoError(t, p.Discard())
			requireNoTemp(t, s)
		})
	}
}

func spoil(data []byte, at int) []byte {
	data[(len(data)+at)%len(data)] ^= 0xff
	return data
}

func TestLimits(t *testing.T) {
	testenv.RequireRoot(t)
	zeros := newTar(t, file("f", strings.Repeat("\x00", 2<<20)))
	window := zstdOf(t, bytes.Repeat([]byte("0123456789abcdef"), 2<<16), zstd.WithWindowSize(1<<20),
		zstd.WithSingleSegment(false))
	for name, c := range map[string]struct {
		data []byte
		o    ExtractOptions
	}{
		"size of the stream": {gzipOf(t, append(newTar(t), make([]byte, 2<<20)...)), ExtractOptions{MaxSize: 1 << 20}},
		"size of a file":     {gzipOf(t, zeros), ExtractOptions{MaxSize: 1 << 20}},
		"names":              {newTar(t, file("a", ""), file("b", ""), file("c", "")), ExtractOptions{MaxNames: 2}},
		"implied names":      {newTar(t, file("a/b/c/d", "")), ExtractOptions{MaxNames: 3}},
		"names twice":        {newTar(t, file("a", ""), file("a", ""), file("a", "")), ExtractOptions{MaxNames: 2}},
		"a hole":             {sparseTar(10 << 30), ExtractOptions{MaxSize: 1 << 30}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			_, err := s.Extract(t.Context(), bytes.NewReader(c.data), &c.o)
			require.ErrorIs(t, err, ErrLimit)
			requireNoTemp(t, s)
		})
	}
	t.Run("window", func(t *testing.T) {
		s := newStore(t)
		_, err := s.Extract(t.Context(), bytes.NewReader(window), &ExtractOptions{MaxWindow: 1 << 16})
		require.ErrorIs(t, err, zstd.ErrWindowSizeExceeded)
		requireNoTemp(t, s)
	})
}

// TestBomb is 1 GiB and a little of zeros in a megabyte.
func TestBomb(t *testing.T) {
	testenv.RequireRoot(t)
	if testing.Short() || testenv.VM() {
		t.Skip("inflates a gigabyte")
	}
	s := newStore(t)
	var header bytes.Buffer
	require.NoError(t, tar.NewWriter(&header).WriteHeader(&tar.Header{Name: "f", Size: 2 << 30, Format: tar.FormatPAX}))
	readers := []io.Reader{bytes.NewReader(gzipOf(t, header.Bytes()))}
	zeros := gzipOf(t, make([]byte, 64<<20))
	for range 32 {
		readers = append(readers, bytes.NewReader(zeros))
	}
	_, err := s.Extract(t.Context(), io.MultiReader(readers...), nil)
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, "more than 250 bytes of each compressed one")
	requireNoTemp(t, s)
}

// sparseTar is a stream with one file that is a hole of this size, then a few bytes: in the old format of GNU tar,
// which archive/tar does not write.
func sparseTar(size int64) []byte {
	const data = "end"
	b := make([]byte, 4*512)
	number := func(at int, n int64) { // base 256
		binary.BigEndian.PutUint64(b[at+4:], uint64(n))
		b[at] = 0x80
	}
	copy(b, "hole")
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	number(124, int64(len(data))) // in the stream
	copy(b[136:], "00000000000\x00        S")
	copy(b[257:], "ustar  \x00")
	number(386, size) // where the data is
	number(398, int64(len(data)))
	number(483, size+int64(len(data)))
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	copy(b[512:], data)
	return b
}

// TestSparse is that holes stay holes, in every format that GNU tar has for them.
func TestSparse(t *testing.T) {
	testenv.RequireRoot(t)
	requireGNUTar(t)
	dir := t.TempDir()
	write := func(name string, size int64, parts map[int64]string) {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		for at, part := range parts {
			_, err := f.WriteAt([]byte(part), at)
			require.NoError(t, err)
		}
		require.NoError(t, f.Truncate(size))
		require.NoError(t, f.Close())
	}
	block := strings.Repeat("block of data...", 256)
	write("ends-in-a-hole", 3<<20+5, map[int64]string{0: block, 1 << 20: block})
	write("ends-in-data", 5<<20, map[int64]string{4096: block, 5<<20 - 10: "0123456789"})
	write("all-hole", 4<<20, nil)
	write("odd", 1<<20+77, map[int64]string{12345: "x", 1 << 19: block + "y"})
	for _, format := range [][]string{
		{"--format=gnu"}, {"--format=posix", "--sparse-version=0.0"}, {"--format=posix", "--sparse-version=0.1"},
		{"--format=posix", "--sparse-version=1.0"},
	} {
		t.Run(strings.Join(format, " "), func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "a.tar")
			gnuTar(t, append(format, "-S", "-cf", archive, "-C", dir, ".")...)
			want := t.TempDir()
			gnuTar(t, "--same-owner", "-xpf", archive, "-C", want)
			f, err := os.Open(archive)
			require.NoError(t, err)
			defer f.Close()
			s := newStore(t)
			l, err := s.Add(t.Context(), f, nil)
			require.NoError(t, err)
			require.Equal(t, listing(t, want), listing(t, l.Dir))
			require.Less(t, l.Usage, int64(1<<20))
		})
	}
}

// TestHole is a hole of 10 GB, which takes no disk.
func TestHole(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	l, err := s.Add(t.Context(), bytes.NewReader(sparseTar(10<<30)), nil)
	require.NoError(t, err)
	require.Equal(t, int64(10<<30+3), l.Size)
	require.Less(t, l.Usage, int64(1<<20))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(l.Dir, "hole"), &st))
	require.Equal(t, l.Size, st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20))
}

// TestReader is what Extract does with readers that fail, wait or panic.
func TestReader(t *testing.T) {
	testenv.RequireRoot(t)
	data := newTar(t, file("f", strings.Repeat("0123456789", 1<<18)))
	broken := errors.New("connection lost")
	for name, compress := range map[string]func(testing.TB, []byte) []byte{
		"plain": func(_ testing.TB, b []byte) []byte { return b },
		"gzip":  gzipOf,
		"zstd":  func(t testing.TB, b []byte) []byte { return zstdOf(t, b) },
	} {
		stream := compress(t, data)
		for _, cut := range []int{0, 3, len(stream) / 2, len(stream) - 1} {
			s := newStore(t)
			_, err := s.Extract(t.Context(), io.MultiReader(bytes.NewReader(stream[:cut]),
				iotest.ErrReader(broken)), nil)
			require.ErrorIs(t, err, broken, "%s %d", name, cut)
			requireNoTemp(t, s)
		}
		s := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		r := readerFunc(func(p []byte) (int, error) {
			cancel()
			time.Sleep(time.Millisecond)
			return copy(p, stream[:len(stream)/2]), nil
		})
		_, err := s.Extract(ctx, io.MultiReader(io.LimitReader(bytes.NewReader(stream), int64(len(stream)/2)), r), nil)
		require.Error(t, err)
		requireNoTemp(t, s)
		require.Error(t, ctx.Err())

		for _, cut := range []int{0, len(stream) / 2} {
			_, err = s.Extract(t.Context(), io.MultiReader(bytes.NewReader(stream[:cut]),
				readerFunc(func([]byte) (int, error) { panic("oops") })), nil)
			require.ErrorContains(t, err, "panic: oops")
		}
		_, err = s.Extract(t.Context(), io.MultiReader(bytes.NewReader(stream[:len(stream)/2]),
			readerFunc(func([]byte) (int, error) { return 0, nil })), nil)
		require.ErrorIs(t, err, io.ErrNoProgress)
		requireNoTemp(t, s)
	}
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Extract(ctx, bytes.NewReader(data), nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Add(ctx, bytes.NewReader(data), nil)
	require.ErrorIs(t, err, context.Canceled)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestManyFolders is a stream of more folders than there are descriptors.
func TestManyFolders(t *testing.T) {
	testenv.RequireRoot(t)
	var entries []entry
	for i := range 3000 {
		entries = append(entries, file(strings.Repeat("d/", i%50)+"x"+strings.Repeat("y", i/50)+"/f", "x"))
	}
	s := newStore(t)
	open := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(d)
	}
	before, most := open(), 0
	s.fault = func(string) error {
		if most%100 == 0 {
			require.Less(t, open()-before, maxOpenDirs+32)
		}
		most++
		return nil
	}
	l, err := s.Add(t.Context(), bytes.NewReader(newTar(t, entries...)), nil)
	require.NoError(t, err)
	require.Equal(t, int64(3000+3000+49), l.Names)
}
