package engine

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// TestListChanges: what a start makes for its own mounts is no change, and anything else in the same places is one.
func TestListChanges(t *testing.T) {
	image := fstest.MapFS{"etc/passwd": {Mode: 0o644}, "etc": {Mode: fs.ModeDir | 0o755}, "run": {Mode: fs.ModeDir | 0o755}}
	list := func(entries ...string) (all []string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range entries {
			h := &tar.Header{Name: strings.TrimSuffix(e, "!"), Typeflag: tar.TypeReg, Mode: 0o644}
			if strings.HasSuffix(e, "/") {
				h.Typeflag, h.Mode = tar.TypeDir, 0o755
			}
			if strings.HasSuffix(e, "!") {
				h.Mode, h.Size = 0o600, 1
			}
			require.NoError(t, w.WriteHeader(h))
			_, err := w.Write(make([]byte, h.Size))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		changes, err := listChanges(tar.NewReader(&b), func(name string) (fs.FileInfo, error) { return fs.Stat(image, name) })
		require.NoError(t, err)
		for _, c := range changes {
			all = append(all, string("CAD"[c.Kind])+c.Path)
		}
		return all
	}
	require.Empty(t, list("./", "dev/", "etc/", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc/", "sys/"))
	require.Equal(t, []string{"C/etc", "A/etc/hosts", "A/proc", "A/proc/x"}, list("etc/", "etc/hostname", "etc/hosts!", "proc", "proc/x"))
	require.Equal(t, []string{"C/etc", "D/etc/passwd", "C/run", "A/run/lock"}, list("etc/", "etc/.wh.passwd", "etc/.wh..wh..opq", "etc/hosts", "run/", "run/lock"))
	image["etc"].Mode = fs.ModeDir | 0o700
	require.Equal(t, []string{"C/etc"}, list("etc/", "etc/hosts"))
	delete(image, "etc/passwd")
	delete(image, "etc")
	require.Empty(t, list("etc/", "etc/hosts"))
}
