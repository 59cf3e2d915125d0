package layer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// owned is a folder's entry with all that an implied one would hide.
func owned(name string, mode int64, uid int) entry {
	e := folderOf(name, mode)
	e.Uid = uid
	e.PAXRecords = map[string]string{paxXattr + "user.a": "b"}
	return e
}

// TestImpliedFolders is that a folder without an entry hides nothing of a lower layer's entry for it.
func TestImpliedFolders(t *testing.T) {
	testenv.RequireRoot(t)
	plain := "40755 0"
	for _, c := range []struct {
		name   string
		layers [][]entry // the lowest first
		want   map[string]string
		chain  bool
	}{
		{"nothing implied", [][]entry{{owned("./", 0o700, 1), owned("a", 0o1777, 2)}, {owned("./", 0o711, 3),
			owned("a", 0o700, 4)}},
			map[string]string{".": "40711 3", "a": "40700 4"}, false},
		{"nothing hidden", [][]entry{{folderOf("./", 0o755), folderOf("a", 0o755)}, {file("a/f", "")}},
			map[string]string{".": plain, "a": plain}, false},
		{"implied", [][]entry{{owned("./", 0o555, 1), owned("a", 0o1777, 2), owned("a/b", 0o700, 3)},
			{file("a/b/c/f", "")}},
			map[string]string{".": "40555 1", "a": "41777 2", "a/b": "40700 3", "a/b/c": plain}, true},
		{"implied twice", [][]entry{{owned("a/b", 0o1777, 2)}, {file("a/b/f", "")}, {file("a/b/g", "")}},
			map[string]string{".": plain, "a": plain, "a/b": "41777 2"}, true},
		{"entry above it", [][]entry{{owned("a", 0o700, 2)}, {file("a/f", "")}, {owned("a", 0o750, 3)}},
			map[string]string{"a": "40750 3"}, false},
		{"entry between", [][]entry{{owned("a", 0o700, 2)}, {owned("a", 0o750, 3)}, {file("a/f", "")}},
			map[string]string{"a": "40750 3"}, true},
		{"below a whiteout", [][]entry{{owned("a", 0o700, 2)}, {file(".wh.a", "")}, {file("a/f", "")}},
			map[string]string{"a": plain}, false},
		{"below a whiteout of the same layer", [][]entry{{owned("a", 0o700, 2)}, {file(".wh.a", ""), file("a/f", "")}},
			map[string]string{"a": plain}, false},
		{"below an opaque folder", [][]entry{{owned("a/b", 0o700, 2)}, {folderOf("a", 0o755),
			file("a/.wh..wh..opq", ""),
			file("a/b/f", "")}}, map[string]string{"a/b": plain}, false},
		{"below a file", [][]entry{{owned("a/b", 0o700, 2)}, {file("a", "")}, {file("a/b/f", "")}},
			map[string]string{"a/b": plain}, false},
		{"below a link", [][]entry{{owned("x/b", 0o700, 2), symlink("a", "x")}, {file("a/b/f", "")}},
			map[string]string{"a/b": plain}, false},
		{"removed above", [][]entry{{owned("a", 0o700, 2)}, {file("a/f", "")}, {file(".wh.a", "")}}, nil, false},
		{"made a file above", [][]entry{{owned("a", 0o700, 2)}, {file("a/f", "")}, {file("a", "")}}, nil, false},
		{"opaque root", [][]entry{{owned("a", 0o700, 2)}, {file(".wh..wh..opq", ""), file("a/f", "")}},
			map[string]string{"a": plain}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			layers := newLayers(t, s, c.layers...)
			for range 2 {
				at := mountAt(t, layers, nil)
				for path, want := range c.want {
					var st unix.Stat_t
					require.NoError(t, unix.Lstat(filepath.Join(at, path), &st))
					require.Equal(t, want, fmt.Sprintf("%o %d", st.Mode, st.Uid), path)
					var xattrs []string
					if want != plain {
						xattrs = []string{`user.a="b"`}
					}
					if path != "." { // the mount's root is the upper folder
						require.Equal(t, xattrs, attributes(t, filepath.Join(at, path)))
					}
				}
			}
			content, err := filepath.Glob(filepath.Join(s.dir, chainsName, "*", contentName))
			require.NoError(t, err)
			require.Equal(t, c.chain, len(content) == 1, content)
			for _, l := range layers {
				_ = s.Remove(t.Context(), l.DiffID)
			}
			left, err := os.ReadDir(filepath.Join(s.dir, chainsName))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
