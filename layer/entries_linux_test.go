package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, body}
}
func fileHeader(name string, uid int, mode int64) tar.Header {
	return tar.Header{Name: name, Uid: uid, Mode: mode, Typeflag: tar.TypeReg,
		PAXRecords: map[string]string{paxXattr + "user.a": "b"}}
}
func folderOf(name string, mode int64) entry {
	return entry{tar.Header{Name: name, Mode: mode, Typeflag: tar.TypeDir}, ""}
}
func symlink(name, target string) entry {
	return entry{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, ""}
}
func hardlink(name, target string) entry {
	return entry{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}, ""}
}

// names describes what is below dir in short: "a/ (755)", "f=body", "l->target", "x whiteout", "d/ (755) opaque".
func names(t testing.TB, dir string) []string {
	t.Helper()
	all := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			name += "/"
			if value := make([]byte, 8); true {
				if n, err := unix.Lgetxattr(path, opaqueXattr, value); err == nil && string(value[:n]) == "y" {
					name += " opaque"
				}
			}
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name += "=" + string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += "->" + target
		default:
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			if isWhiteout(&st) {
				name += " whiteout"
			} else {
				name += " special"
			}
		}
		all = append(all, name)
		return nil
	}))
	sort.Strings(all)
	return all
}

// TestEntries is what becomes of streams that repeat names, go through links or remove things.
func TestEntries(t *testing.T) {
	testenv.RequireRoot(t)
	for _, c := range []struct {
		name    string
		entries []entry
		want    []string
	}{
		{"empty", nil, []string{}},
		{"root only", []entry{folderOf("./", 0o700)}, []string{}},
		{"implied folders", []entry{file("a/b/c", "x")}, []string{"a/", "a/b/", "a/b/c=x"}},
		{"folder after its content", []entry{file("a/b", "x"), folderOf("a", 0o700)}, []string{"a/", "a/b=x"}},
		{"absolute name", []entry{file("/etc/passwd", "x")}, []string{"etc/", "etc/passwd=x"}},
		{"dots", []entry{file("./a/./b//c/../d", "x")}, []string{"a/", "a/b/", "a/b/d=x"}},
		{"file twice", []entry{file("f", "1"), file("f", "2")}, []string{"f=2"}},
		{"folder twice", []entry{folderOf("d", 0o700), file("d/f", "x"), folderOf("d", 0o755)}, []string{"d/",
			"d/f=x"}},
		{"file over folder", []entry{file("d/a/b", "x"), folderOf("d/a/c", 0o755), file("d", "y")}, []string{"d=y"}},
		{"folder over file", []entry{file("d", "y"), folderOf("d", 0o755), file("d/f", "x")}, []string{"d/", "d/f=x"}},
		{"link over file", []entry{file("d", "y"), symlink("d", "z")}, []string{"d->z"}},
		{"link over folder", []entry{file("d/f", "y"), file("e/f", "1"), symlink("d", "e"), file("d/f", "2")},
			[]string{"d->e", "e/", "e/f=2"}},
		{"folder over link", []entry{symlink("d", "e"), file("d/f", "1"), folderOf("d", 0o755), file("d/f", "2")},
			[]string{"d/", "d/f=2", "e/", "e/f=1"}},
		{"file over link", []entry{symlink("d", "/etc/passwd"), file("d", "1")}, []string{"d=1"}},
		{"folder again after it was a file", []entry{file("d/a/f", "1"), file("d", "x"), folderOf("d", 0o755),
			file("d/a/g", "2")},
			[]string{"d/", "d/a/", "d/a/g=2"}},
		{"link over link in its own way", []entry{folderOf("b", 0o755), symlink("b/self", "."),
			file("b/self/self", "1"),
			file("b/x", "2")}, []string{"b/", "b/self=1", "b/x=2"}},

		{"through a link", []entry{symlink("lib", "usr/lib"), file("usr/lib/a", "1"), file("lib/b", "2")},
			[]string{"lib->usr/lib", "usr/", "usr/lib/", "usr/lib/a=1", "usr/lib/b=2"}},
		{"through an absolute link", []entry{symlink("var/run", "/run"), file("var/run/pid", "1")},
			[]string{"run/", "run/pid=1", "var/", "var/run->/run"}},
		{"through a climbing link", []entry{symlink("a/b", "../../../../../etc"), file("a/b/passwd", "1")},
			[]string{"a/", "a/b->../../../../../etc", "etc/", "etc/passwd=1"}},
		{"through a chain of links", []entry{symlink("a", "b"), symlink("b", "c/d"), symlink("c", "/e"),
			file("a/f", "1")},
			[]string{"a->b", "b->c/d", "c->/e", "e/", "e/d/", "e/d/f=1"}},
		{"through a link and back", []entry{folderOf("x/y", 0o755), symlink("l", "x/y/../z"), file("l/f", "1")},
			[]string{"l->x/y/../z", "x/", "x/y/", "x/z/", "x/z/f=1"}},

		{"hard link", []entry{file("a", "x"), hardlink("b", "/a"), hardlink("c/d", "./b")},
			[]string{"a=x", "b=x", "c/", "c/d=x"}},
		{"hard link to a link", []entry{symlink("a", "/etc/passwd"), hardlink("b", "a")},
			[]string{"a->/etc/passwd", "b->/etc/passwd"}},
		{"hard link to itself", []entry{file("a", "x"), hardlink("a", "a")}, []string{"a=x"}},
		{"hard link to the same file", []entry{file("a", "x"), hardlink("b", "a"), hardlink("b", "a")},
			[]string{"a=x", "b=x"}},
		{"hard link over a file", []entry{file("a", "x"), file("b", "y"), hardlink("b", "a")}, []string{"a=x", "b=x"}},
		{"hard link through a link", []entry{symlink("l", "d"), file("d/a", "x"), hardlink("b", "l/a")},
			[]string{"b=x", "d/", "d/a=x", "l->d"}},

		{"whiteout", []entry{file(".wh.a", ""), file("d/.wh.b", "")}, []string{"a whiteout", "d/", "d/b whiteout"}},
		{"whiteout twice", []entry{file(".wh.a", ""), file(".wh.a", "")}, []string{"a whiteout"}},
		{"whiteout before the file", []entry{file(".wh.a", ""), file("a", "x")}, []string{"a=x"}},
		{"whiteout after the file", []entry{file("a", "x"), file(".wh.a", "")}, []string{"a=x"}},
		{"whiteout before the folder", []entry{file(".wh.d", ""), folderOf("d", 0o755)}, []string{"d/ opaque"}},
		{"whiteout before the implied folder", []entry{file(".wh.d", ""), file("d/f", "x")},
			[]string{"d/ opaque", "d/f=x"}},
		{"whiteout after the folder", []entry{folderOf("d", 0o755), file(".wh.d", "")}, []string{"d/ opaque"}},
		{"whiteout after the link", []entry{symlink("l", "d"), folderOf("d", 0o755), file(".wh.l", "")},
			[]string{"d/", "l->d"}},
		{"opaque", []entry{folderOf("d", 0o755), file("d/.wh..wh..opq", ""), file("d/f", "x")},
			[]string{"d/ opaque", "d/f=x"}},
		{"opaque before the folder", []entry{file("d/.wh..wh..opq", ""), folderOf("d", 0o755)}, []string{"d/ opaque"}},
		{"of AUFS", []entry{folderOf(".wh..wh.plnk", 0o755), file(".wh..wh.plnk/1.2", "x"), file(".wh..wh.aufs",
			"")}, []string{}},
		{"global header", []entry{{tar.Header{Typeflag: tar.TypeXGlobalHeader,
			PAXRecords: map[string]string{"comment": "x"}}, ""},
			file("f", "x")}, []string{"f=x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			l, err := s.Add(t.Context(), bytes.NewReader(newTar(t, c.entries...)), nil)
			require.NoError(t, err)
			require.Equal(t, c.want, names(t, l.Dir))
		})
	}
}

// TestHostileEntries is what no stream may ask for. Nothing of it may be left, inside the store or outside.
func TestHostileEntries(t *testing.T) {
	testenv.RequireRoot(t)
	attributes := func(name string, records map[string]string) entry {
		return entry{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, PAXRecords: records}, ""}
	}
	device := func(name string, major, minor int64) entry {
		return entry{tar.Header{Name: name, Typeflag: tar.TypeChar, Devmajor: major, Devminor: minor}, ""}
	}
	for _, c := range []struct {
		name    string
		entries []entry
		want    error // nil: any
	}{
		{"climbs", []entry{file("../outside", "x")}, errOutside},
		{"climbs later", []entry{file("a/../../outside", "x")}, errOutside},
		{"climbs from the root", []entry{file("/../outside", "x")}, errOutside},
		{"is the parent", []entry{folderOf("..", 0o777)}, errOutside},
		{"root as a file", []entry{file(".", "x")}, errRoot},
		{"root as a link", []entry{symlink(".", "/etc")}, errRoot},
		{"hard link climbs", []entry{hardlink("a", "../../../../etc/passwd")}, errOutside},
		{"hard link out of the layer", []entry{hardlink("a", "/etc/passwd")}, unix.ENOENT},
		{"hard link through a link", []entry{symlink("l", "/etc"), hardlink("a", "l/passwd")}, unix.ENOENT},
		{"hard link through a climbing link", []entry{symlink("l", "../../../../../../etc"), hardlink("a", "l/passwd")},
			unix.ENOENT},
		{"hard link to a folder", []entry{folderOf("d", 0o755), hardlink("a", "d")}, unix.EISDIR},
		{"hard link to the root", []entry{hardlink("a", "/")}, unix.EISDIR},
		{"hard link to a whiteout", []entry{file(".wh.a", ""), hardlink("b", "a")}, unix.ENOENT},
		{"hard link replaces its target", []entry{file("d/f", "x"), hardlink("d", "d/f")}, unix.ENOENT},
		{"links in a circle", []entry{symlink("a", "b"), symlink("b", "a"), file("a/f", "x")}, unix.ELOOP},
		{"link to itself", []entry{symlink("a", "a/a"), file("a/f", "x")}, unix.ELOOP},
		{"file as a folder", []entry{file("a", "x"), file("a/b", "x")}, unix.ENOTDIR},
		{"link to a file as a folder", []entry{file("a", "x"), symlink("l", "a"), file("l/b", "x")}, unix.ENOTDIR},
		{"device as a folder", []entry{device("a", 1, 3), file("a/b", "x")}, unix.ENOTDIR},
		{"whiteout of nothing", []entry{file(".wh.", "")}, errWhiteout},
		{"whiteout of itself", []entry{file("d/.wh..", "")}, errWhiteout},
		{"whiteout of the parent", []entry{file("d/.wh...", "")}, errWhiteout},
		{"device number too large", []entry{device("a", 4096, 1)}, unix.EINVAL},
		{"device number too large again", []entry{device("a", 1, 1<<20)}, unix.EINVAL},
		{"name too long", []entry{file(strings.Repeat("a/", 2100)+"a", "x")}, errLongName},
		{"component too long", []entry{file(strings.Repeat("a", 256), "x")}, unix.ENAMETOOLONG},
		{"too deep through a link", []entry{folderOf(strings.Repeat("a/", 1500), 0o755),
			symlink("l", strings.Repeat("a/", 1500)), folderOf("l/"+strings.Repeat("b/", 1000), 0o755)}, errLongName},
		{"unknown type", []entry{{tar.Header{Name: "a", Typeflag: 'Z'}, ""}}, errors.ErrUnsupported},
		{"capability of nonsense", []entry{attributes("a", map[string]string{"SCHILY.xattr.security.capability": "?"})},
			unix.EINVAL},
		{"attribute too large", []entry{attributes("a",
			map[string]string{"SCHILY.xattr.user.a": strings.Repeat("x", 1<<17)})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			outside := listing(t, filepath.Dir(s.dir))
			_, err := s.Extract(t.Context(), bytes.NewReader(newTar(t, c.entries...)), nil)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			var entry *EntryError
			require.ErrorAs(t, err, &entry)
			left, err := os.ReadDir(filepath.Join(s.dir, tempName))
			require.NoError(t, err)
			require.Empty(t, left)
			require.Equal(t, withoutTimes(outside), withoutTimes(listing(t, filepath.Dir(s.dir))))
		})
	}
}

// withoutTimes keeps of each line the name, mode and owner.
func withoutTimes(lines []string) []string {
	short := []string{}
	for _, l := range lines {
		f := strings.Fields(l)
		if !strings.Contains(f[0], lockName) {
			short = append(short, strings.Join(f[:3], " "))
		}
	}
	return short
}

// TestOverlayAttributes is that an image cannot set what overlayfs keeps for itself.
func TestOverlayAttributes(t *testing.T) {
	testenv.RequireRoot(t)
	records := map[string]string{}
	for _, name := range []string{"trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.metacopy",
		"user.plain",
		"trusted.plain", "security.selinux", "com.apple.provenance", "system.other", "user."} {
		records[paxXattr+name] = "v"
	}
	s := newStore(t)
	l, err := s.Add(t.Context(), bytes.NewReader(newTar(t,
		entry{tar.Header{Name: "d", Mode: 0o755, Typeflag: tar.TypeDir, PAXRecords: records}, ""},
		entry{tar.Header{Name: "f", Mode: 0o644, PAXRecords: records}, ""},
		entry{tar.Header{Name: "l", Linkname: "f", Typeflag: tar.TypeSymlink, PAXRecords: records}, ""},
	)), nil)
	require.NoError(t, err)
	trusted := []string{`trusted.overlay.overlay.opaque="v"`, `trusted.overlay.overlay.redirect="v"`,
		`trusted.plain="v"`}
	all := append(append([]string{}, trusted...), `user.overlay.overlay.metacopy="v"`, `user.plain="v"`)
	require.Equal(t, all, attributes(t, filepath.Join(l.Dir, "d")))
	require.Equal(t, all, attributes(t, filepath.Join(l.Dir, "f")))
	require.Equal(t, trusted, attributes(t, filepath.Join(l.Dir, "l")))
}
