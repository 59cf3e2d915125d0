package image

import (
	"archive/tar"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An archive of very many members with very long names, files or links, is refused before it takes much memory.
func TestLoadManyLongNames(t *testing.T) {
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	long := strings.Repeat("n", maxMemberName-20)
	for _, kind := range []byte{tar.TypeReg, tar.TypeSymlink} {
		r, w := io.Pipe()
		go func() {
			a := tar.NewWriter(w)
			for i := range maxMembers {
				h := &tar.Header{Name: fmt.Sprintf("%s%d", long, i), Typeflag: kind, Mode: 0o644}
				if kind == tar.TypeSymlink {
					h.Linkname = long
				}
				if a.WriteHeader(h) != nil {
					return
				}
			}
			_ = w.CloseWithError(a.Close())
		}()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err = s.Load(t.Context(), r, nil)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "names")
		require.Less(t, int64(after.HeapSys)-int64(before.HeapSys), int64(64<<20))
		require.NoError(t, r.Close())
	}
}
