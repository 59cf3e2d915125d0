package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["layer-user"] = ordinaryUser }

// ordinaryUser does all with layers that root does: args are the tar files, the lowest first.
func ordinaryUser(args []string) int {
	if err := useLayers(args[1:]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func useLayers(archives []string) (err error) {
	ctx := context.Background()
	s, err := Open("store")
	if err != nil {
		return err
	}
	var layers []Layer
	for _, name := range archives {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		l, err := s.Add(ctx, f, nil)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		layers = append(layers, l)
	}
	for _, o := range []*MountOptions{{ReadOnly: true}, {Upper: "upper", Work: "work"}, nil} {
		root, err := Mount(ctx, layers, o)
		if err != nil {
			return err
		}
		err = look(root, o != nil && o.Upper != "")
		if err = errors.Join(err, root.Close()); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := Diff(ctx, &b, "upper", nil); err != nil {
		return err
	}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		fmt.Printf("diff %s %d:%d\n", h.Name, h.Uid, h.Gid)
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	for _, l := range layers {
		if err := s.Remove(ctx, l.DiffID); err != nil {
			return err
		}
	}
	for _, dir := range []string{"upper", "work", "store"} {
		if err := namespace.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// look prints what is in the root, by its first user namespace's ids, and changes something.
func look(root *namespace.Root, change bool) error {
	user, uids, gids := root.UserNamespace()
	if user == nil {
		return errors.New("no user namespace")
	}
	d, err := namespace.NewDeputy(context.Background(), uids, gids)
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := root.OpenFolder("/")
	if err != nil {
		return err
	}
	defer f.Close()
	top := fmt.Sprintf("/proc/self/fd/%d/", f.Fd())
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, top)
		if errors.Is(err, fs.ErrPermission) {
			fmt.Println(name, "closed")
			return nil
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		uid, _ := namespace.ContainerID(uids, st.Uid)
		gid, _ := namespace.ContainerID(gids, st.Gid)
		fmt.Printf("%s %o %d:%d\n", name, st.Mode, uid, gid)
		return nil
	})
	if err != nil || !change {
		return err
	}
	if err := os.WriteFile(top+"new", nil, 0o644); err != nil {
		return err
	}
	if len(uids) > 1 { // as a process of the container that is app does
		if _, err := d.Call(unix.SYS_FCHOWNAT, namespace.Descriptor(f.Fd()), "new", 1000, 1000, 0); err != nil {
			return err
		}
		if _, err := d.Call(unix.SYS_UNLINKAT, namespace.Descriptor(f.Fd()), "home/app/file", 0); err != nil {
			return err
		}
	}
	return os.Remove(top + "gone")
}

func userArchives(t *testing.T) []string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	var names []string
	header := func(name string, typ byte, mode int64, uid, gid int) tar.Header {
		return tar.Header{Name: name, Typeflag: typ, Mode: mode, Uid: uid, Gid: gid}
	}
	for i, entries := range [][]entry{
		{
			{Header: header("home/", tar.TypeDir, 0o755, 0, 0)},
			{Header: header("home/app/", tar.TypeDir, 0o700, 1000, 1000)},
			{Header: header("home/app/file", tar.TypeReg, 0o600, 1000, 1000), body: "x"},
			{Header: tar.Header{Name: "home/app/again", Typeflag: tar.TypeLink, Linkname: "home/app/file"}},
			{Header: header("tool", tar.TypeReg, 0o6755, 0, 5), body: "x"},
			{Header: tar.Header{Name: "capable", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
				"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
				"SCHILY.xattr.trusted.x":           "y",
			}}, body: "x"},
			{Header: tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "home", Uid: 7, Gid: 7}},
			{Header: header("fifo", tar.TypeFifo, 0o600, 8, 8)},
			{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
			{Header: header("shut/", tar.TypeDir, 0o111, 0, 0)},
			{Header: header("shut/file", tar.TypeReg, 0, 0, 0), body: "x"},
			{Header: header("tmp/", tar.TypeDir, 0o1777, 3, 3)},
			{Header: header("gone", tar.TypeReg, 0o644, 0, 0), body: "x"},
			{Header: header("old/sub/", tar.TypeDir, 0o755, 0, 0)},
		},
		{
			{Header: header("tmp/x", tar.TypeReg, 0o644, 9, 9), body: "x"}, // implies tmp
			{Header: header("old/.wh..wh..opq", tar.TypeReg, 0, 0, 0)},
			{Header: header("home/app/.wh.again", tar.TypeReg, 0, 0, 0)},
		},
	} {
		name := filepath.Join(dir, fmt.Sprint(i))
		require.NoError(t, os.WriteFile(name, newTar(t, entries...), 0o644))
		names = append(names, name)
	}
	return names
}

// TestOrdinaryUser extracts, mounts, compares and removes layers as an ordinary user, with and without subordinate ids.
func TestOrdinaryUser(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	archives := userArchives(t)
	want := func(id func(int) int) string {
		files := []string{
			" 40755 0:0", "capable 100755 0:0", "fifo 10600 8:8", "gone 100644 0:0", "home 40755 0:0",
			"home/app 40700 1000:1000", "home/app/file 100600 1000:1000", "link 120777 7:7", "old 40755 0:0", "shut 40111 0:0", "shut closed",
			"tmp 41777 3:3", "tmp/x 100644 9:9", "tool 106755 0:5",
		}
		text := ""
		for i, line := range files {
			var name string
			var mode, uid, gid int
			if n, _ := fmt.Sscanf(strings.TrimSpace(line), "%s %o %d:%d", &name, &mode, &uid, &gid); n == 4 {
				line = fmt.Sprintf("%s %o %d:%d", name, mode, id(uid), id(gid))
			} else if i == 0 {
				line = fmt.Sprintf(" 40755 %d:%d", id(0), id(0))
			}
			text += line + "\n"
			if name == "home/app" && id(1000) != 0 {
				text += "home/app closed\n"
			}
		}
		if id(1000) != 0 {
			text = strings.Replace(text, fmt.Sprintf("home/app/file 100600 %d:%d\n", id(1000), id(1000)), "", 1)
		}
		return strings.Repeat(text, 2) + strings.Replace(text, "\n", "\n", 1)
	}
	for _, ranges := range []bool{true, false} {
		for _, way := range []string{"new", "old"} {
			t.Run(fmt.Sprintf("%v %s", ranges, way), func(t *testing.T) {
				if way == "old" && testing.Short() && !ranges {
					t.Skip("once is enough")
				}
				u := testenv.NewUser(t, ranges)
				cmd := u.Command(t, "layer-user", archives...)
				var b bytes.Buffer
				cmd.Stdout, cmd.Stderr = &b, &b
				run := cmd.Run
				if way == "old" {
					run = func() error { return testenv.RunOnOlderKernel(cmd, noLowerByLower) }
				}
				err := run()
				out := b.Bytes()
				require.NoError(t, err, string(out))
				id := func(n int) int {
					if ranges {
						return n
					}
					return 0
				}
				diff := "diff ./ 0:0\ndiff .wh.gone 0:0\ndiff new 0:0\n"
				if ranges {
					diff = "diff ./ 0:0\ndiff .wh.gone 0:0\ndiff home/ 0:0\ndiff home/app/ 1000:1000\ndiff home/app/.wh.file 0:0\n" +
						"diff new 1000:1000\n"
				}
				require.Equal(t, want(id)+diff, string(out))
				left, err := os.ReadDir(u.Home)
				require.NoError(t, err)
				require.Empty(t, left)
			})
		}
	}
}

// TestOwnerBeyond extracts a file of an id that the user does not have.
func TestOwnerBeyond(t *testing.T) {
	u := testenv.NewUser(t, true)
	name := filepath.Join(u.Home, "tar")
	require.NoError(t, os.WriteFile(name, newTar(t, entry{Header: tar.Header{Name: "f", Typeflag: tar.TypeReg, Uid: 70000}}), 0o644))
	out, err := u.Command(t, "layer-user", name).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "owner 70000:0 is none of the ids that /etc/subuid and /etc/subgid grant to user")
}

func TestOwnerXattr(t *testing.T) {
	for _, ids := range [][2]uint32{{0, 0}, {1, 0}, {0, 7}, {1000, 100}, {70000, 1<<32 - 2}} {
		uid, gid, ok := parseOwner(string(formatOwner(ids[0], ids[1])))
		require.Equal(t, ids, [2]uint32{uid, gid})
		require.Equal(t, ids != [2]uint32{}, ok)
	}
	for _, bad := range []string{"", "\x08", "\x08\x80", "\x1a\x01", "\x08\xff\xff\xff\xff\xff\x01", "x"} {
		_, _, ok := parseOwner(bad)
		require.False(t, ok, "%q", bad)
	}
}

func FuzzParseOwner(f *testing.F) {
	f.Add("\x08\xe8\x07\x10\xe8\x07")
	f.Fuzz(func(t *testing.T, s string) {
		if uid, gid, ok := parseOwner(s); ok && (uid|gid) != 0 {
			u, g, _ := parseOwner(string(formatOwner(uid, gid)))
			require.Equal(t, [2]uint32{uid, gid}, [2]uint32{u, g})
		}
	})
}
