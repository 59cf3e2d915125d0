package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// archiveStage is a stage of an archive's bytes that come in chunks of a size. stop ends it.
func archiveStage(data []byte, size int) (s *stage, stop func()) {
	s = newStage(chunkQueue)
	s.err = io.EOF
	ended := make(chan struct{})
	var feeder sync.WaitGroup
	feeder.Go(func() {
		defer close(s.queue)
		for len(data) > 0 {
			c := chunks.Get().(*chunk)
			c.data = c.mem[:copy(c.mem[:size], data)]
			c.refs.Store(1)
			data = data[len(c.data):]
			select {
			case s.queue <- c:
			case <-ended:
				return
			}
		}
	})
	return s, func() { close(ended); feeder.Wait() }
}

// described is all of a header that an extraction looks at.
func described(h *tar.Header, content []byte) string {
	m, err := metaOf(h)
	return fmt.Sprintf("%q %c %d %o %d:%d %v %v %v %q %d:%d %q %v %x", h.Name, h.Typeflag, h.Size, h.Mode, h.Uid, h.Gid, h.ModTime.UTC(),
		m, err, h.Linkname, h.Devmajor, h.Devminor, xattrs(h), isSparse(h), sha256.Sum256(content))
}

const mostContent = 1 << 20 // bytes that are read of each entry

// byArchiveTar lists an archive by archive/tar, with what ended it.
func byArchiveTar(data []byte) (list []string, err error) {
	r := tar.NewReader(struct{ io.Reader }{bytes.NewReader(data)}) // as a stream, which archive/tar does not seek in
	for {
		h, err := r.Next()
		if err != nil {
			return list, err
		}
		content, err := contentOf(h, func(n int64) ([]byte, error) {
			b := make([]byte, n)
			m, err := io.ReadFull(r, b)
			return b[:m], err
		})
		list = append(list, described(h, content))
		if err != nil {
			return list, err
		}
	}
}

// byTarReader is byArchiveTar with a tarReader. It says how many entries that has read itself.
func byTarReader(t testing.TB, data []byte, size int) (list []string, own int, err error) {
	s, stop := archiveStage(data, size)
	defer stop()
	r := &tarReader{in: s}
	for {
		h, err := r.next()
		if err != nil {
			_, again := r.next()
			require.Equal(t, err, again)
			return list, own, err
		}
		if r.rest == nil {
			own++
		}
		content, err := contentOf(h, r.take)
		list = append(list, described(h, content))
		if err != nil {
			return list, own, err
		}
	}
}

// contentOf takes the content of a file's entry.
func contentOf(h *tar.Header, take func(int64) ([]byte, error)) (content []byte, err error) {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
	default:
		return nil, nil
	}
	for most := min(h.Size, mostContent); int64(len(content)) < most; {
		p, err := take(most - int64(len(content)))
		content = append(content, p...)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return content, err
		}
	}
	return content, nil
}

// requireSameArchive compares the two readers, and returns how many entries the tarReader has read itself.
func requireSameArchive(t testing.TB, data []byte, size int) int {
	t.Helper()
	want, wantErr := byArchiveTar(data)
	got, own, err := byTarReader(t, data, size)
	require.Equal(t, want, got)
	require.Equal(t, wantErr, err)
	return own
}

// archives are archives of each kind, with how many entries of them are for the tarReader itself.
func archives(t testing.TB) map[string]archiveCase {
	at := time.Unix(1700000000, 123456789)
	ancient := time.Unix(-5, 0)
	plain := []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: at.Truncate(time.Second)},
		{Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 1000, Uid: 1, Gid: 0o7777777, ModTime: at.Truncate(time.Second)},
		{Name: "d/empty", Typeflag: tar.TypeReg},
		{Name: "d/block", Typeflag: tar.TypeReg, Size: 512},
		{Name: "l", Typeflag: tar.TypeLink, Linkname: "d/f"},
		{Name: "s", Typeflag: tar.TypeSymlink, Linkname: "../../x"},
		{Name: "c", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "b", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1},
		{Name: "p", Typeflag: tar.TypeFifo},
		{Name: "large", Typeflag: tar.TypeReg, Size: chunkSize + 7},
	}
	of := func(f tar.Format, list ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range list {
			h.Format = f
			require.NoError(t, w.WriteHeader(&h))
			_, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), h.Size)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	long := strings.Repeat("long/", 60) + "name"
	pax := append(plain[:len(plain):len(plain)], tar.Header{Name: long, Typeflag: tar.TypeReg, Size: 5, ModTime: at, AccessTime: at.Add(time.Hour), ChangeTime: at},
		tar.Header{Name: "l2", Typeflag: tar.TypeSymlink, Linkname: long},
		tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 1, Uid: 1 << 30, Gid: 1 << 31, PAXRecords: map[string]string{
			paxXattr + "user.a": "1=2\n\x00", paxXattr + "security.capability": "c", "VENDOR.key": "v", "comment": "c"}},
		tar.Header{Name: "\u00fc\xff", Typeflag: tar.TypeReg, Uname: "n\u00e4me"})
	record := func(text string) []byte { // what a writer refuses
		b := of(tar.FormatPAX, tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 5, ModTime: at})
		return withRecords(t, b, text)
	}
	all := map[string]archiveCase{
		"ustar":        {of(tar.FormatUSTAR, plain...), len(plain)},
		"ustar prefix": {of(tar.FormatUSTAR, tar.Header{Name: strings.Repeat("p/", 70) + "f", Typeflag: tar.TypeReg}), 1},
		"pax":          {of(tar.FormatPAX, pax...), len(pax)},
		"gnu":          {of(tar.FormatGNU, plain...), len(plain)},
		"gnu long":     {of(tar.FormatGNU, append(plain[:3:3], tar.Header{Name: long, Typeflag: tar.TypeReg}, plain[1])...), 3},
		"gnu binary":   {of(tar.FormatGNU, plain[1], tar.Header{Name: "b", Typeflag: tar.TypeReg, Uid: 1 << 30, AccessTime: at}), 1},
		"before 1970":  {of(tar.FormatPAX, plain[1], tar.Header{Name: "old", Typeflag: tar.TypeReg, ModTime: ancient, AccessTime: at}), 1},
		"global":       {of(tar.FormatPAX, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "g"}}, plain[1]), 0},
		"sparse":       {sparseTar(1 << 16), 0},
		"empty":        {of(tar.FormatUSTAR), 0},
		"nothing":      {nil, 0},

		"size in records":      {record("10 size=4\n"), 1},
		"empty value":          {record("10 path=a\n8 path=\n13 mtime=1.5\n9 mtime=\n"), 1},
		"last value":           {record("10 path=a\n10 path=b\n"), 1},
		"long fraction":        {record("27 mtime=1.123456789987654\n"), 1},
		"no fraction":          {record("12 mtime=1.\n"), 1},
		"size below nothing":   {record("11 size=-4\n"), 0},
		"plus":                 {record("10 uid=+4\n"), 0},
		"number too long":      {record("27 uid=1234567890123456789\n"), 0},
		"NUL in path":          {record("12 path=a\x00b\n"), 0},
		"NUL in another":       {record("9 a=\x00b\x00\n"), 0},
		"NUL in xattr's name":  {record("24 SCHILY.xattr.a\x00b=cd\n"), 0},
		"sparse map":           {record("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"), 0},
		"no key":               {record("6 =ab\n"), 0},
		"no value":             {record("6 abc\n"), 0},
		"record too long":      {record("60 path=a\n"), 0},
		"record too short":     {record("3 a\n"), 0},
		"record of leading 0s": {record("010 path=a\n"), 0},
		"no end of line":       {record("10 path=abc"), 0},
		"no length":            {record(" path=a\n"), 0},
		"damaged time":         {record("14 atime=1.5x\n"), 0},
		"damaged change":       {record("12 ctime=xx\n"), 0},
	}
	return all
}

type archiveCase struct {
	data []byte
	own  int
}

// withRecords puts other PAX records into an archive of one entry that has some.
func withRecords(t testing.TB, b []byte, text string) []byte {
	require.EqualValues(t, tar.TypeXHeader, b[156])
	old, ok := octal(b[124:136])
	require.True(t, ok)
	b = bytes.Clone(b)
	copy(b[124:136], fmt.Sprintf("%011o\x00", len(text)))
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", checksum(b)))
	padded := append([]byte(text), make([]byte, -len(text)&(tarBlock-1))...)
	return append(append(b[:tarBlock:tarBlock], padded...), b[tarBlock+old+-old&(tarBlock-1):]...)
}

// TestTarReader: archive/tar reads the same out of an archive, whole, cut off anywhere, and with any byte of a header changed.
func TestTarReader(t *testing.T) {
	for name, c := range archives(t) {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.own, requireSameArchive(t, c.data, chunkSize))
			require.Equal(t, c.own, requireSameArchive(t, c.data, 100))
			for n := 0; n < len(c.data); n += 1 + n/20 {
				requireSameArchive(t, c.data[:n], chunkSize)
			}
			if len(c.data) > 16*tarBlock {
				return
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 100 {
				b := bytes.Clone(c.data)
				for range min(len(b), 1+random.IntN(3)) {
					b[random.IntN(min(len(b), 4*tarBlock))] = [...]byte{0, ' ', '7', '8', 'x', 0x80}[random.IntN(6)]
				}
				requireSameArchive(t, b, chunkSize)
				for at := 0; at+tarBlock <= len(b); at += tarBlock { // with sums that are right
					copy(b[at+148:], fmt.Sprintf("%06o\x00 ", checksum(b[at:])))
				}
				requireSameArchive(t, b, chunkSize)
			}
		})
	}
}

// TestTarReaderFails: what ends the stream ends the archive, wherever it does.
func TestTarReaderFails(t *testing.T) {
	broken := errors.New("broken")
	data := archives(t)["pax"].data
	for n := 0; n < len(data); n += 1 + n/20 {
		s, stop := archiveStage(data[:n], chunkSize)
		s.err = broken
		r := &tarReader{in: s}
		var err error
		for err == nil {
			var h *tar.Header
			if h, err = r.next(); err == nil {
				_, err = contentOf(h, r.take)
			}
		}
		stop()
		require.ErrorIs(t, err, broken, n)
	}
}

// FuzzTarReader is that the bytes mean the same to archive/tar.
func FuzzTarReader(f *testing.F) {
	for _, c := range archives(f) {
		if len(c.data) < 64<<10 {
			f.Add(c.data, uint16(512))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		requireSameArchive(t, data, 1+int(size))
	})
}
