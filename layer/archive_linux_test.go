package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// FuzzTarWriter: archive/tar reads what was written.
func FuzzTarWriter(f *testing.F) {
	f.Add("a", "", "user.a", "v", uint32(0o644), uint32(0), int64(0), int64(0), int64(0))
	f.Add(strings.Repeat("dir/", 60)+"file", strings.Repeat("link", 40), "trusted.x", "a\x00=\nb", uint32(0o7777),
		uint32(1<<32-2), int64(-1), int64(999_999_999), int64(1<<40))
	f.Add("ü\xff", "t", "user."+strings.Repeat("n", 90), strings.Repeat("v", 900), uint32(0), uint32(1<<21), int64(1<<34),
		int64(100), int64(1<<33))
	f.Fuzz(func(t *testing.T, name, link, key, value string, mode, uid uint32, sec, nsec, size int64) {
		clean, err := cleanName(name)
		if err != nil || clean == "" || strings.ContainsAny(link+key, "\x00") || strings.Contains(key, "=") || key == "" ||
			nsec < 0 || nsec > 999_999_999 || sec > 1<<40 || sec < -1<<40 || uid == noID || size < 0 || link == "" {
			t.Skip()
		}
		mode &= 0o7777
		e := &tarEntry{
			name: clean, link: link, typ: '2', mode: mode, uid: uid, gid: uid, mtime: unix.Timespec{Sec: sec, Nsec: nsec},
			xattrs: map[string]string{key: value},
		}
		var b bytes.Buffer
		w := tarWriter{w: &b}
		require.NoError(t, w.begin(e))
		require.NoError(t, w.end())
		// A sparse file without content, of any size.
		holes := &tarEntry{name: clean, typ: '0', mode: mode, size: size, holes: []extent{{size, 0}}}
		require.NoError(t, w.begin(holes))
		require.NoError(t, w.end())
		require.NoError(t, w.close())
		require.Zero(t, b.Len()%blockSize)
		r := tar.NewReader(&b)
		h, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, clean, h.Name)
		require.Equal(t, link, h.Linkname)
		require.Equal(t, int64(mode), h.Mode)
		require.Equal(t, int(uid), h.Uid)
		require.True(t, time.Unix(sec, nsec).Equal(h.ModTime), "%v", h.ModTime)
		require.Equal(t, value, h.PAXRecords[paxXattr+key])
		h, err = r.Next()
		require.NoError(t, err)
		require.Equal(t, clean, h.Name)
		require.Equal(t, size, h.Size)
		_, err = r.Next()
		require.ErrorIs(t, err, io.EOF)
	})
}
