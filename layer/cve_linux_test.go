package layer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestLayerCVEs extracts what layers have been made of in the known attacks, beside a file of the host's that they are
// after: it stays as it is, whether the layer is refused or not. The names say whose the attacks were.
func TestLayerCVEs(t *testing.T) {
	testenv.RequireRoot(t)
	host := t.TempDir()
	secret := filepath.Join(host, "secret")
	up := "../../../../../../../../../../.." + secret
	for name, entries := range map[string][]entry{
		// umoci: the root itself is a link, and what follows goes through it.
		"CVE-2021-29136": {symlink(".", host), file("secret", "changed")},
		// containerd: a hard link to a link, whose mode is changed through it.
		"CVE-2021-32760": {symlink("a", secret), hardlink("b", "a"), file("b", "changed"), symlink("c", secret), folderOf("c", 0o777)},
		// docker: a folder is exchanged for a link between two of its files.
		"CVE-2014-9357": {folderOf("d", 0o755), file("d/x", "1"), symlink("d", host), file("d/secret", "changed")},
		// docker: a hard link to the host's file by an absolute or a climbing name.
		"CVE-2014-6407 absolute": {hardlink("a", secret), file("a", "changed")},
		"CVE-2014-6407 climbing": {hardlink("a", up), file("a", "changed")},
		// docker: links of links that climb.
		"CVE-2014-9356": {symlink("a", "/"), symlink("b", "a/.."+host), file("b/secret", "changed"), symlink("e", up), file("e", "changed")},
		// containerd: a name's folder is a link when the entry is written, though it was a folder when it was looked at.
		"CVE-2025-47290": {folderOf("etc", 0o755), file("etc/f", "1"), symlink("etc", host), folderOf("etc", 0o777), symlink("etc/x", host),
			file("etc/x/secret", "changed")},
		// containers/storage: whiteouts that name what is not in the folder.
		"whiteout of a link's target": {symlink("l", host), file("l/.wh.secret", "")},
		"whiteout that climbs":        {file(".wh.../"+filepath.Base(host), ""), file("a/.wh...", "")},
		"opaque through a link":       {symlink("l", host), file("l/.wh..wh..opq", "")},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
			s := newStore(t)
			_, err := s.Add(t.Context(), bytes.NewReader(newTar(t, entries...)), nil)
			t.Log(err)
			b, err := os.ReadFile(secret)
			require.NoError(t, err)
			require.Equal(t, "secret", string(b))
			var st unix.Stat_t
			require.NoError(t, unix.Lstat(secret, &st))
			require.Equal(t, uint32(unix.S_IFREG|0o600), st.Mode)
			require.EqualValues(t, 1, st.Nlink)
			require.Empty(t, attributes(t, host))
			left, err := os.ReadDir(host)
			require.NoError(t, err)
			require.Len(t, left, 1)
			requireNoTemp(t, s)
		})
	}
}
