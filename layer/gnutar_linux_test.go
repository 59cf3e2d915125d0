package layer

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// newFiles makes a folder with a file of each kind that tar can hold.
func newFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	when := func(name string, sec, nsec int64) {
		ts := []unix.Timespec{{Sec: sec, Nsec: nsec}, {Sec: sec, Nsec: nsec}}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, at(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	write := func(name, body string, mode uint32) {
		require.NoError(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		require.NoError(t, os.WriteFile(at(name), []byte(body), 0o600))
		require.NoError(t, unix.Chmod(at(name), mode))
		when(name, 1_600_000_000, 123_456_789)
	}
	write("bin/plain", "plain", 0o644)
	write("bin/group-writable", "x", 0o666)
	write("bin/none", "", 0)
	write("bin/owned", "x", 0o640)
	require.NoError(t, os.Lchown(at("bin/owned"), 1000, 70000))
	write("bin/setuid", "x", 0o755)
	require.NoError(t, os.Lchown(at("bin/setuid"), 12, 34))
	require.NoError(t, unix.Chmod(at("bin/setuid"), 0o6755))
	when("bin/setuid", 1, 1)
	write("bin/ping", "x", 0o755)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	require.NoError(t, unix.Lsetxattr(at("bin/ping"), "security.capability", []byte(capability), 0))
	require.NoError(t, unix.Lsetxattr(at("bin/ping"), "user.binary", []byte{1, 0, 255, '\n', '='}, 0))
	require.NoError(t, os.Link(at("bin/plain"), at("bin/zz-hard")))
	require.NoError(t, os.Symlink("plain", at("bin/soft")))
	require.NoError(t, os.Lchown(at("bin/soft"), 5, 6))
	when("bin/soft", 1_700_000_000, 999_999_999)
	require.NoError(t, os.Symlink("/etc/passwd", at("bin/absolute")))
	require.NoError(t, os.Symlink("../../../../etc/passwd", at("bin/climbing")))
	require.NoError(t, os.Link(at("bin/soft"), at("bin/zz-soft-hard")))
	write("names/a\xff\xfeb", "not UTF-8", 0o644)
	write("names/new\nline", "x", 0o644)
	write("names/ü-日本", "x", 0o644)
	long := strings.Repeat("long-", 50)
	write(filepath.Join("names", long, long, long, "file"), "x", 0o644)
	require.NoError(t, os.Symlink(strings.Repeat("target/", 100), at("names/long-link")))
	write("big", strings.Repeat("0123456789abcdef", 1<<16)+"tail", 0o644)
	require.NoError(t, os.MkdirAll(at("dev"), 0o755))
	require.NoError(t, unix.Mknod(at("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, unix.Mknod(at("dev/disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 65537))))
	require.NoError(t, unix.Mkfifo(at("dev/fifo"), 0o620))
	require.NoError(t, os.Mkdir(at("tmp"), 0o755))
	require.NoError(t, unix.Chmod(at("tmp"), 0o1777))
	write("shared/inside", "x", 0o644)
	require.NoError(t, os.Mkdir(at("shared/folder"), 0o700))
	require.NoError(t, os.Lchown(at("shared"), 0, 50))
	require.NoError(t, unix.Chmod(at("shared"), 0o2775))
	require.NoError(t, unix.Lsetxattr(at("shared"), "user.folder", []byte("yes"), 0))
	when("shared", 1_500_000_000, 42)
	old := time.Unix(-1000, 0)
	require.NoError(t, os.Chtimes(at("big"), old, old))
	return dir
}

func requireGNUTar(t testing.TB) {
	t.Helper()
	testenv.RequireCommand(t, "tar")
	if out, err := exec.Command("tar", "--version").CombinedOutput(); err != nil || !bytes.Contains(out,
		[]byte("GNU tar")) {
		testenv.Skip(t, "GNU tar")
	}
}

func gnuTar(t testing.TB, arguments ...string) {
	t.Helper()
	out, err := exec.Command("tar", arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestAsGNUTar extracts what GNU tar made, as GNU tar does.
func TestAsGNUTar(t *testing.T) {
	testenv.RequireRoot(t)
	requireGNUTar(t)
	from := newFiles(t)
	compress := map[string]func(t *testing.T, data []byte) []byte{
		"plain": func(_ *testing.T, data []byte) []byte { return data },
		"gzip": func(t *testing.T, data []byte) []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, err := w.Write(data)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			return b.Bytes()
		},
		"zstd": func(t *testing.T, data []byte) []byte {
			w, err := zstd.NewWriter(nil)
			require.NoError(t, err)
			defer w.Close()
			return w.EncodeAll(data, nil)
		},
	}
	for format, flags := range map[string][]string{
		"pax": {"--format=posix", "--xattrs", "--xattrs-include=*"},
		"gnu": {"--format=gnu"},
	} {
		archive := filepath.Join(t.TempDir(), "a.tar")
		gnuTar(t, append(flags, "--sort=name", "--numeric-owner", "-cf", archive, "-C", from, ".")...)
		want := t.TempDir()
		gnuTar(t, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-xpf", archive, "-C", want)
		data, err := os.ReadFile(archive)
		require.NoError(t, err)
		for name, f := range compress {
			t.Run(format+"/"+name, func(t *testing.T) {
				s := newStore(t)
				l, err := s.Add(t.Context(), bytes.NewReader(f(t, data)), nil)
				require.NoError(t, err)
				require.Equal(t, listing(t, want), listing(t, l.Dir))
			})
		}
	}
}
