package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newSparse adds sparse files to a folder: holes in the middle, at both ends, and nothing else.
func newSparse(t *testing.T, dir string) {
	t.Helper()
	for name, parts := range map[string][]extent{
		"sparse-middle":                   {{0, 5}, {1 << 20, 4096}},
		"sparse-ends":                     {{1 << 20, 7}},
		"sparse-none":                     nil,
		strings.Repeat("sparse-long", 20): {{8192, 10}, {3 << 20, 1}},
	} {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		for _, p := range parts {
			_, err := f.WriteAt(bytes.Repeat([]byte("x"), int(p.size)), p.at)
			require.NoError(t, err)
		}
		require.NoError(t, f.Truncate(5<<20))
		require.NoError(t, f.Close())
		require.NoError(t, os.Chtimes(f.Name(), time.Unix(7, 8), time.Unix(-3, 500)))
	}
}

func mustDiff(t testing.TB, dir string, o *DiffOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Diff(t.Context(), &b, dir, o))
	return b.Bytes()
}

func mustAdd(t testing.TB, s *Store, data []byte) Layer {
	t.Helper()
	l, err := s.Add(t.Context(), bytes.NewReader(data), nil)
	require.NoError(t, err)
	return l
}

// TestArchiveRoundTrip archives files of each kind; GNU tar and Extract both make the same of it again.
func TestArchiveRoundTrip(t *testing.T) {
	testenv.RequireRoot(t)
	requireGNUTar(t)
	from := newFiles(t)
	newSparse(t, from)
	require.NoError(t, unix.Lsetxattr(from, "user.root", []byte("of it all"), 0))
	var b bytes.Buffer
	require.NoError(t, Archive(t.Context(), &b, from))
	require.Less(t, b.Len(), 3<<20, "holes were written")
	want := listing(t, from)
	l := mustAdd(t, newStore(t), b.Bytes())
	require.Equal(t, want, listing(t, l.Dir))
	for _, name := range []string{"sparse-middle", "sparse-ends", "sparse-none"} {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(l.Dir, name), &st))
		require.Less(t, st.Blocks*512, int64(1<<20), name)
	}
	archive, to := filepath.Join(t.TempDir(), "a.tar"), t.TempDir()
	require.NoError(t, os.WriteFile(archive, b.Bytes(), 0o600))
	gnuTar(t, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-xpf", archive, "-C", to)
	require.Equal(t, want, listing(t, to))
}

// TestArchiveListedAsGNUTars compares GNU tar's listing of our archive with that of its own, line by line.
func TestArchiveListedAsGNUTars(t *testing.T) {
	testenv.RequireRoot(t)
	requireGNUTar(t)
	from := newFiles(t)
	newSparse(t, from)
	ours, theirs := filepath.Join(t.TempDir(), "ours.tar"), filepath.Join(t.TempDir(), "theirs.tar")
	var b bytes.Buffer
	require.NoError(t, Archive(t.Context(), &b, from))
	require.NoError(t, os.WriteFile(ours, b.Bytes(), 0o600))
	gnuTar(t, "--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "--sort=name", "--numeric-owner", "-cf", theirs, "-C", from,
		"--transform=s,^\\./,,", ".")
	list := func(path string) string {
		out, err := exec.Command("tar", "--xattrs", "--numeric-owner", "--full-time", "-tvf", path).Output()
		require.NoError(t, err)
		return strings.ReplaceAll(string(out), " ./", " ")
	}
	lines := strings.Split(list(theirs), "\n")
	got := strings.Split(list(ours), "\n")
	// The first name of a file with several is the first of all for us, and the first that it reads for GNU tar: the same,
	// since both sort; the order is not the same.
	require.ElementsMatch(t, lines, got)
	require.Greater(t, len(lines), 30)
}

// inOverlay runs a script in the root of a mount of the layers.
func inOverlay(t *testing.T, layers []Layer, upper, script string, look func(target string)) {
	t.Helper()
	target := t.TempDir()
	o := &MountOptions{Target: target, ReadOnly: upper == ""}
	if upper != "" {
		o.Upper, o.Work = upper, upper+".work"
	}
	root, err := Mount(t.Context(), layers, o)
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	if script != "" {
		c := exec.Command("sh", "-ec", script)
		c.Dir = target
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	look(target)
}

// inside are the access and modification times of a file that the changes touch, finer than any shell can.
var inside = []unix.Timespec{{Sec: 981173106, Nsec: 123456789}, {Sec: 981173106, Nsec: 123456789}}

const changes = `
	rm bin/plain; rm -r names; mkdir names; echo new >names/only
	rm -r dev; echo file >dev
	rm big; mkdir -p big/deep/er; echo x >big/deep/er/f
	mv bin/owned bin/renamed
	chmod 4711 bin/setuid; chown 7:8 bin/none; ln bin/none bin/none-too; ln -s nowhere bin/dangling
	rm bin/climbing; mknod bin/node b 7 9; mkfifo bin/pipe
	truncate -s 50M hole; printf tail >>hole
	touch -d '2001-02-03 04:05:06' shared/inside
	chmod 1700 shared; chmod 711 .
	mkdir gone; touch gone/a; rm -r gone; echo back >bin/soft-new; rm bin/soft; ln bin/soft-new bin/soft`

// TestDiffOfUpper: the layers with the layer made of an upper folder are what the overlay was.
func TestDiffOfUpper(t *testing.T) {
	testenv.RequireRoot(t)
	s := newStore(t)
	from := newFiles(t)
	var b bytes.Buffer
	require.NoError(t, Archive(t.Context(), &b, from))
	layers := []Layer{mustAdd(t, s, b.Bytes())}
	upper := filepath.Join(t.TempDir(), "upper")
	var want []string
	inOverlay(t, layers, upper, changes, func(target string) {
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(target, "shared/inside"), inside, 0))
		require.NoError(t, unix.Setxattr(filepath.Join(target, "bin/ping"), "user.more", []byte{0, 1}, 0))
		want = listing(t, target)
	})
	diff := mustDiff(t, upper, nil)
	layers = append(layers, mustAdd(t, s, diff))
	inOverlay(t, layers, "", "", func(target string) { require.Equal(t, want, listing(t, target)) })
	names := tarNames(t, diff)
	for _, name := range []string{"bin/.wh.plain", "bin/.wh.climbing", "names/.wh..wh..opq", "bin/.wh.owned"} {
		require.Contains(t, names, name)
	}
	require.NotContains(t, names, "bin/absolute", "which was not changed")
	// And again: a layer of the layer is the same.
	require.Equal(t, diff, mustDiff(t, layers[1].Dir, nil))
}

func tarNames(t testing.TB, data []byte) (names []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		require.NoError(t, err)
		names = append(names, h.Name)
	}
}

// TestDiffOfTrees does the same with two whole trees.
func TestDiffOfTrees(t *testing.T) {
	testenv.RequireRoot(t)
	if testenv.VM() {
		t.Skip("busybox's cp does not keep times to the nanosecond")
	}
	s := newStore(t)
	from := newFiles(t)
	to := t.TempDir()
	out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput()
	require.NoError(t, err, "%s", out)
	nothing := mustDiff(t, to, &DiffOptions{Lower: from})
	require.Empty(t, tarNames(t, nothing))
	c := exec.Command("sh", "-ec", changes+`
		printf y >names/../shared/folder/same-size; rm bin/zz-hard; touch -d @5 shared/folder`)
	c.Dir = to
	out, err = c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(to, "shared/inside"), inside, 0))
	var b bytes.Buffer
	require.NoError(t, Archive(t.Context(), &b, from))
	diff := mustDiff(t, to, &DiffOptions{Lower: from})
	layers := []Layer{mustAdd(t, s, b.Bytes()), mustAdd(t, s, diff)}
	inOverlay(t, layers, "", "", func(target string) { require.Equal(t, listing(t, to), listing(t, target)) })
	require.NotContains(t, tarNames(t, diff), "bin/absolute")
}

// TestDiffSeesContent: without fractions of a second in its time, a file is compared by its bytes.
func TestDiffSeesContent(t *testing.T) {
	testenv.RequireRoot(t)
	a, b := t.TempDir(), t.TempDir()
	for dir, body := range map[string]string{a: "old", b: "new"} {
		for name, at := range map[string]time.Time{"whole": time.Unix(1e9, 0), "exact": time.Unix(1e9, 5)} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644))
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), at, at))
		}
		require.NoError(t, os.Chtimes(dir, time.Unix(9, 9), time.Unix(9, 9)))
	}
	require.Equal(t, []string{"./", "whole"}, tarNames(t, mustDiff(t, b, &DiffOptions{Lower: a})))
}

// TestDiffLinks: links that appear or vanish between files that stay the same are in the layer.
func TestDiffLinks(t *testing.T) {
	testenv.RequireRoot(t)
	old, tied := t.TempDir(), t.TempDir()
	at := time.Unix(5, 5)
	for _, dir := range []string{old, tied} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(old, "b"), []byte("x"), 0o644))
	require.NoError(t, os.Link(filepath.Join(tied, "a"), filepath.Join(tied, "b")))
	for _, dir := range []string{old, tied} {
		for _, name := range []string{"a", "b", "."} {
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), at, at))
		}
	}
	for _, pair := range [][2]string{{old, tied}, {tied, old}} {
		require.Equal(t, []string{"./", "a", "b"}, tarNames(t, mustDiff(t, pair[1], &DiffOptions{Lower: pair[0]})))
	}
}

// TestDiffMarks: whiteouts and opaque folders of both kinds, and attributes that are overlayfs's own.
func TestDiffMarks(t *testing.T) {
	testenv.RequireRoot(t)
	for class, o := range map[string]*DiffOptions{"trusted.overlay.": nil, "user.overlay.": {UserXattr: true}} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		set := func(name, attribute, value string) {
			require.NoError(t, unix.Lsetxattr(at(name), attribute, []byte(value), 0))
		}
		require.NoError(t, unix.Mknod(at("device"), unix.S_IFCHR, 0))
		for _, name := range []string{"marked", "foreign", "kept"} {
			require.NoError(t, os.WriteFile(at(name), nil, 0o644))
		}
		require.NoError(t, os.Mkdir(at("opaque"), 0o755))
		require.NoError(t, os.Mkdir(at("x"), 0o755))
		set("opaque", class+"opaque", "y")
		set("x", class+"opaque", "x") // has marked whiteouts in it
		set("marked", class+"whiteout", "")
		set("kept", class+"origin", "handle")
		set("kept", class+"overlay.redirect", "an image's own")
		set("kept", "user.plain", "v")
		diff := mustDiff(t, dir, o)
		require.Equal(t, []string{"./", ".wh.device", "foreign", "kept", ".wh.marked", "opaque/", "opaque/.wh..wh..opq", "x/"},
			tarNames(t, diff))
		for r := tar.NewReader(bytes.NewReader(diff)); ; {
			h, err := r.Next()
			require.NoError(t, err)
			if h.Name == "kept" {
				require.Equal(t, "an image's own", h.PAXRecords[paxXattr+class+"redirect"])
				require.Equal(t, "v", h.PAXRecords[paxXattr+"user.plain"])
				require.NotContains(t, h.PAXRecords, paxXattr+class+"origin")
				break
			}
		}
	}
}

func TestDiffRefuses(t *testing.T) {
	testenv.RequireRoot(t)
	var entry *EntryError
	dir := t.TempDir()
	refused := func(o *DiffOptions) error {
		err := Diff(t.Context(), io.Discard, dir, o)
		require.ErrorAs(t, err, &entry)
		return err
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".wh.x"), nil, 0o644))
	require.ErrorIs(t, refused(nil), errReserved)
	require.ErrorIs(t, refused(&DiffOptions{Lower: t.TempDir()}), errReserved)
	require.Equal(t, ".wh.x", entry.Name)
	require.NoError(t, Archive(t.Context(), io.Discard, dir), "an archive is no layer")
	require.NoError(t, os.Rename(filepath.Join(dir, ".wh.x"), filepath.Join(dir, "x")))
	require.NoError(t, unix.Setxattr(filepath.Join(dir, "x"), "trusted.overlay.metacopy", nil, 0))
	require.ErrorIs(t, refused(nil), errors.ErrUnsupported)
	require.NoError(t, Diff(t.Context(), io.Discard, dir, &DiffOptions{UserXattr: true}))
	require.ErrorIs(t, Diff(t.Context(), io.Discard, dir, &DiffOptions{UserXattr: true, Lower: dir}), unix.EINVAL)
	require.ErrorIs(t, Diff(t.Context(), io.Discard, filepath.Join(dir, "none"), nil), os.ErrNotExist)
	require.NoError(t, unix.Removexattr(filepath.Join(dir, "x"), "trusted.overlay.metacopy"))
	require.NoError(t, unix.Setxattr(filepath.Join(dir, "x"), "user.a=b", []byte("c"), 0))
	require.ErrorIs(t, refused(nil), errXattrName, "it would be read as user.a")
	require.ErrorIs(t, refused(&DiffOptions{Lower: t.TempDir()}), errXattrName)
	require.ErrorIs(t, Archive(t.Context(), io.Discard, dir), errXattrName)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Archive(ctx, io.Discard, dir), context.Canceled)
}

// TestDiffWriterFails fails the writer after each number of blocks.
func TestDiffWriterFails(t *testing.T) {
	testenv.RequireRoot(t)
	dir := newFiles(t)
	newSparse(t, dir)
	whole := mustDiff(t, dir, nil)
	full := errors.New("full")
	step := 512
	if testing.Short() {
		step = 1 << 16
	}
	for n := 0; n < min(len(whole), 200*step); n += step {
		require.ErrorIs(t, Diff(t.Context(), &bounded{n, full}, dir, nil), full)
	}
	require.NoError(t, Diff(t.Context(), &bounded{len(whole), full}, dir, nil))
}

type bounded struct {
	left int
	err  error
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, b.err
	}
	return len(p), nil
}
