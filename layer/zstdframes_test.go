package layer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func zstdFrame(t testing.TB, data []byte, window int, o ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(o, zstd.WithWindowSize(window))...)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// TestFrameReader: every byte is passed on, and each large window is seen, wherever in the stream its frame is.
func TestFrameReader(t *testing.T) {
	text := bytes.Repeat([]byte("some text, again and again. "), 100_000)
	small, large := zstdFrame(t, text, 8<<20), zstdFrame(t, text, 32<<20)
	noSum := zstdFrame(t, text, 16<<20, zstd.WithEncoderCRC(false))
	skip := []byte{0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5}
	zeros := zstdFrame(t, make([]byte, 1<<20), 1<<20)
	single := zstdFrame(t, []byte("x"), 8<<20, zstd.WithSingleSegment(true))
	for name, c := range map[string]struct {
		parts [][]byte
		large int
	}{
		"empty": {nil, 0}, "small": {[][]byte{small}, 0}, "large": {[][]byte{large}, 1},
		"large later":  {[][]byte{single, small, skip, large, zeros, noSum, small}, 2},
		"skip":         {[][]byte{skip, skip}, 0},
		"cut off":      {[][]byte{large, small[:len(small)/2]}, 1},
		"in header":    {[][]byte{small, large[:5]}, 0},
		"no zstd":      {[][]byte{small, []byte("this is not a frame, but something else")}, 0},
		"cut in block": {[][]byte{noSum[:12]}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			all := bytes.Join(c.parts, nil)
			for _, r := range []io.Reader{bytes.NewReader(all), iotest.OneByteReader(bytes.NewReader(all))} {
				seen := 0
				got, err := io.ReadAll(&frameReader{r: bufio.NewReader(r), gate: func() error { seen++; return nil }})
				require.NoError(t, err)
				require.True(t, bytes.Equal(all, got))
				require.Equal(t, c.large, seen)
			}
		})
	}
	no := errors.New("no")
	got, err := io.ReadAll(&frameReader{r: bufio.NewReader(bytes.NewReader(append(small, large...))),
		gate: func() error { return no }})
	require.ErrorIs(t, err, no)
	require.Len(t, got, len(small), "the header is not passed on")
}
