package inflate

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// contents are what makes all kinds of blocks, codes and matches.
func contents() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var words, skewed, runs, far []byte
	for len(words) < 700<<10 {
		words = fmt.Appendf(words, "word%d ", r.IntN(r.IntN(3000)+1))
	}
	for len(skewed) < 400<<10 { // codes of very different lengths
		skewed = append(skewed, byte(min(r.ExpFloat64()*20, 255)))
	}
	for len(runs) < 500<<10 { // matches at short distances
		runs = append(runs, bytes.Repeat(noise[len(runs)%1000:][:1+r.IntN(12)], 1+r.IntN(100))...)
	}
	for len(far) < 600<<10 { // matches at the longest distance
		far = append(far, noise[:windowSize]...)
	}
	return map[string][]byte{
		"nothing": nil, "a byte": {7}, "noise": noise, "words": words, "skewed": skewed, "runs": runs, "far": far,
		"zeros": make([]byte, 1<<20), "tiny": words[:30],
	}
}

func compressed(t testing.TB, level int, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	require.NoError(t, err)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// inflate reads a file in pieces of a size.
func inflate(in io.Reader, piece int) ([]byte, error) {
	z, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	var all []byte
	buf := make([]byte, piece)
	for {
		n, err := z.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestReader(t *testing.T) {
	for name, content := range contents() {
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			if level > 0 && level != 6 && level != 9 {
				continue
			}
			file := compressed(t, level, content)
			for _, piece := range []int{1000, leastRead, 100_001, 2 << 20} {
				got, err := inflate(bytes.NewReader(file), piece)
				require.NoError(t, err, "%s, level %d", name, level)
				require.True(t, bytes.Equal(content, got), "%s, level %d, by %d", name, level, piece)
			}
			if level != 6 {
				continue
			}
			for _, slow := range []io.Reader{
				iotest.OneByteReader(bytes.NewReader(file)), iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(file))),
			} {
				got, err := inflate(slow, 70_000)
				require.NoError(t, err)
				require.True(t, bytes.Equal(content, got), "%s, level %d", name, level)
			}
		}
	}
}

// Nothing is asked for that is not needed: there may be nobody who says more.
func TestReaderReadsNoMore(t *testing.T) {
	content := contents()["words"]
	file := compressed(t, 6, content)
	z, err := NewReader(io.MultiReader(iotest.OneByteReader(bytes.NewReader(file)), iotest.ErrReader(errors.New("asked"))))
	require.NoError(t, err)
	got := make([]byte, len(content))
	_, err = io.ReadFull(z, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	_, err = z.Read(got)
	require.EqualError(t, err, "asked")
}

func TestReaderMembers(t *testing.T) {
	all := contents()
	var file, want []byte
	for _, name := range []string{"words", "nothing", "noise", "words", "tiny", "far", "nothing"} {
		file = append(file, compressed(t, 6, all[name])...)
		want = append(want, all[name]...)
	}
	for _, piece := range []int{999, 1 << 20} {
		got, err := inflate(bytes.NewReader(file), piece)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
	got, err := inflate(bytes.NewReader(append(file, 0)), 1<<20)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.True(t, bytes.Equal(want, got))
	_, err = inflate(bytes.NewReader(append(file, make([]byte, 20)...)), 1<<20)
	require.ErrorIs(t, err, ErrHeader)
	// A match, of three bytes at distance one, does not reach into the member before.
	match := []byte{0x03, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	before := append(compressed(t, 6, all["words"]), file[:10]...)
	for _, beginning := range [][]byte{file[:10], before} {
		_, err = inflate(bytes.NewReader(append(beginning, match...)), 1<<20)
		require.ErrorIs(t, err, errCorrupt)
		// Nor does it where it is seen by the loop that looks far ahead.
		_, err = inflate(bytes.NewReader(append(append(beginning, match...), make([]byte, 100)...)), 1<<20)
		require.ErrorIs(t, err, errCorrupt)
	}
}

func TestReaderHeader(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra, w.ModTime = "name", "a comment", bytes.Repeat([]byte{1, 2, 3}, 20_000), time.Unix(1, 0)
	_, err := w.Write([]byte("content"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	got, err := inflate(&b, 100)
	require.NoError(t, err)
	require.Equal(t, "content", string(got))

	_, err = NewReader(bytes.NewReader(nil))
	require.Equal(t, io.EOF, err)
	file := compressed(t, 6, []byte("content"))
	for n := range 10 {
		if n > 0 {
			_, err = NewReader(bytes.NewReader(file[:n]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
		if n < 3 {
			bad := bytes.Clone(file)
			bad[n] ^= 1
			_, err = NewReader(bytes.NewReader(bad))
			require.ErrorIs(t, err, ErrHeader)
		}
	}
}

// Headers of all kinds, with checksums of their own that are right and wrong, are what they are to compress/gzip.
func TestReaderHeaderAgrees(t *testing.T) {
	rest := compressed(t, 6, []byte("content"))[10:]
	whole := 0
	for flags := range 256 {
		for _, long := range []int{0, 1, 510, 511, 512, 513} {
			head := []byte{0x1f, 0x8b, 8, byte(flags), 1, 2, 3, 4, 5, 6}
			if flags&4 != 0 {
				head = binary.LittleEndian.AppendUint16(head, uint16(long))
				head = append(head, make([]byte, long)...)
			}
			for _, flag := range []int{8, 16} {
				if flags&flag != 0 {
					head = append(append(head, bytes.Repeat([]byte{'n'}, long)...), 0)
				}
			}
			if flags&2 == 0 {
				agree(t, append(head, rest...))
				continue
			}
			sum := uint16(crc32.ChecksumIEEE(head))
			for _, off := range []uint16{0, 1, 0x100} {
				file := append(binary.LittleEndian.AppendUint16(bytes.Clone(head), sum^off), rest...)
				agree(t, file)
				_, err := NewReader(bytes.NewReader(file))
				if off != 0 || long > 511 && flags&24 != 0 {
					require.ErrorIs(t, err, ErrHeader)
					continue
				}
				require.NoError(t, err)
				whole++
			}
		}
	}
	require.NotZero(t, whole)
}

// A source that now and then has nothing is asked again, one that never has is given up, and its errors are those of the Reader.
func TestReaderSource(t *testing.T) {
	content := contents()["words"]
	file := compressed(t, 6, content)
	got, err := inflate(&hesitant{bytes.NewReader(file), 0}, 1<<20)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	broken := errors.New("broken")
	for n := range 40 {
		part := bytes.NewReader(file[:n*len(file)/40])
		got, err := inflate(io.MultiReader(part, iotest.ErrReader(broken)), 1<<20)
		require.Equal(t, broken, err)
		require.True(t, bytes.HasPrefix(content, got))
		part.Reset(file[:n*len(file)/40])
		_, err = inflate(io.MultiReader(part, never{}), 1<<20)
		require.Equal(t, io.ErrNoProgress, err)
	}
}

// hesitant reads something every tenth time.
type hesitant struct {
	r io.Reader
	n int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.n++; h.n%10 != 0 {
		return 0, nil
	}
	return h.r.Read(p[:min(len(p), 1000)])
}

type never struct{}

func (never) Read([]byte) (int, error) { return 0, nil }

func TestReaderTrailer(t *testing.T) {
	file := compressed(t, 6, []byte("content"))
	for i := range 8 {
		bad := bytes.Clone(file)
		bad[len(bad)-1-i] ^= 0x10
		got, err := inflate(bytes.NewReader(bad), 100)
		require.ErrorIs(t, err, ErrChecksum)
		require.Equal(t, "content", string(got))
	}
}

// A file cut off at any byte, or with one bit wrong, is what it is to compress/gzip.
func TestReaderAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, content := range contents() {
		for _, level := range []int{gzip.HuffmanOnly, 0, 1, 9} {
			file := compressed(t, level, content[:min(len(content), 400)])
			for n := range file {
				agree(t, file[:n])
			}
			for range 60 {
				bad := bytes.Clone(file)
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
				agree(t, bad)
			}
		}
		big := compressed(t, 9, content)
		for range 4 {
			bad := bytes.Clone(big)
			bad[10+r.IntN(len(bad)-10)] ^= 1 << r.IntN(8)
			agree(t, bad)
			agree(t, bad[:r.IntN(len(bad))])
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// agree compares with compress/gzip: the bytes, and whether it is whole, cut off or wrong.
func agree(t testing.TB, file []byte) {
	t.Helper()
	const limit = 8 << 20
	var want []byte
	theirs, wantErr := gzip.NewReader(bytes.NewReader(file))
	if wantErr == nil {
		want, wantErr = io.ReadAll(io.LimitReader(theirs, limit))
	}
	var got []byte
	var in io.Reader = bytes.NewReader(file)
	if len(file)%3 == 0 { // so that no code looks ahead of what it needs
		in = iotest.OneByteReader(in)
	}
	ours, err := NewReader(in)
	if err == nil {
		got, err = io.ReadAll(io.LimitReader(pieces{ours, make([]byte, []int{777, 50_000}[len(file)%2])}, limit))
	}
	require.Equal(t, kind(wantErr), kind(err), "%v, but %v", wantErr, err)
	n := min(len(want), len(got)) // what comes before an error depends on how far ahead one looks
	require.True(t, bytes.Equal(want[:n], got[:n]))
	if kind(err) != "wrong" && kind(err) != "cut off" {
		require.Equal(t, len(want), len(got))
	}
}

// pieces reads into a buffer of its own size.
type pieces struct {
	r   io.Reader
	buf []byte
}

func (p pieces) Read(b []byte) (int, error) {
	n, err := p.r.Read(p.buf[:min(len(b), len(p.buf))])
	return copy(b, p.buf[:n]), err
}

func kind(err error) string {
	switch {
	case err == nil || err == io.EOF:
		return fmt.Sprint(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut off"
	}
	return "wrong"
}

// FuzzReader feeds a file, and a DEFLATE stream behind a right header.
func FuzzReader(f *testing.F) {
	for _, content := range contents() {
		f.Add(compressed(f, 6, content[:min(len(content), 2000)]))
		f.Add(compressed(f, gzip.HuffmanOnly, content[:min(len(content), 2000)])[10:])
	}
	head := compressed(f, 6, nil)[:10]
	f.Fuzz(func(t *testing.T, b []byte) {
		agree(t, b)
		agree(t, append(bytes.Clone(head), b...))
	})
}

func BenchmarkReader(b *testing.B) {
	content := contents()["words"]
	file := compressed(b, 6, content)
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"inflate":       func(r io.Reader) (io.Reader, error) { return NewReader(r) },
		"compress/gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 256<<10)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				r, err := open(bytes.NewReader(file))
				require.NoError(b, err)
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
				require.NoError(b, err)
			}
		})
	}
}
