package namespace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestAddUser: an entry is added once, and never to a file of another's.
func TestAddUser(t *testing.T) {
	testenv.RequireKernel(t, 5, 6)
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	require.NoError(t, os.Mkdir(etc, 0o755))
	root, u := Dir(dir), &User{Name: "me", UID: 1000, GID: 100, Home: "/home/me"}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(b)
	}
	passwd, group := filepath.Join(etc, "passwd"), filepath.Join(etc, "group")
	require.NoError(t, root.AddUser(u), "there are no files")
	require.NoFileExists(t, passwd)
	write := func(text string) { require.NoError(t, os.WriteFile(passwd, []byte(text), 0o644)) }
	const entry = "me:*:1000:100:me:/home/me:/bin/sh\n"
	for before, after := range map[string]string{
		"":                             entry,
		"root:x:0:0::/:\n":             "root:x:0:0::/:\n" + entry,
		"root:x:0:0::/:":               "root:x:0:0::/:\n" + entry,
		"app:x:1000:1::/:\n":           "app:x:1000:1::/:\n",
		"me:x:5:1::/:\n":               "me:x:5:1::/:\n",
		"# me:x:1000:1::/:\nme2:x:1:1": "# me:x:1000:1::/:\nme2:x:1:1\n" + entry,
	} {
		write(before)
		for range 2 {
			require.NoError(t, root.AddUser(u))
			require.Equal(t, after, read(passwd))
		}
	}
	require.NoError(t, os.WriteFile(group, []byte("users:x:100:\n"), 0o644))
	require.NoError(t, root.AddUser(u))
	require.Equal(t, "users:x:100:\n", read(group))

	// The image has something else there: a link, out of the root or not, a pipe, a folder; or the folder is a link.
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("host:x:0:0::/:\n"), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "inside"), []byte("root:x:0:0::/:\n"), 0o666))
	for name, make := range map[string]func() error{
		"link out": func() error { return os.Symlink(outside, passwd) },
		"link":     func() error { return os.Symlink("/inside", passwd) },
		"dangling": func() error { return os.Symlink("/made", passwd) },
		"pipe":     func() error { return unix.Mkfifo(passwd, 0o666) },
		"folder":   func() error { return os.Mkdir(passwd, 0o777) },
		"link above": func() error {
			if err := os.Rename(etc, filepath.Join(dir, "other")); err != nil {
				return err
			}
			return os.Symlink("other", etc)
		},
	} {
		require.NoError(t, os.RemoveAll(passwd), name)
		if name == "link above" {
			write("root:x:0:0::/:\n")
		}
		require.NoError(t, make(), name)
		require.NoError(t, root.AddUser(u), name)
		require.Equal(t, "host:x:0:0::/:\n", read(outside), name)
		require.Equal(t, "root:x:0:0::/:\n", read(filepath.Join(dir, "inside")), name)
		require.NoFileExists(t, filepath.Join(dir, "made"), name)
		if name == "link above" {
			require.Equal(t, "root:x:0:0::/:\n", read(passwd))
			require.NoError(t, os.Remove(etc))
			require.NoError(t, os.Rename(filepath.Join(dir, "other"), etc))
		}
	}
	for _, wrong := range []User{{Name: "a:b"}, {Name: "a\nb"}, {Name: ""}, {Name: "+a"}, {Name: "a", Home: "/x:y"}} {
		require.ErrorContains(t, root.AddUser(&wrong), "add user")
	}
}
