package volume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() { programs["copy-capable"] = copyCapable }

// copyCapable copies a folder into a volume, and that into another one, and prints the capabilities of their files.
func copyCapable(args []string) int {
	ctx := context.Background()
	s, err := Open("volumes")
	var first, second Volume
	if err == nil {
		first, err = s.CreateFrom(ctx, "first", nil, args[1])
	}
	if err == nil {
		second, err = s.Clone(ctx, "first", "second", nil)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, v := range []Volume{first, second} {
		for _, name := range []string{"own", "sub", "host", "other"} {
			b := make([]byte, 64)
			n, err := unix.Getxattr(filepath.Join(v.Path, name), capabilityXattr, b)
			if errors.Is(err, unix.ENODATA) {
				n, err = 0, nil
			}
			fmt.Printf("%s %s %x %v\n", v.Name, name, b[:max(n, 0)], err)
		}
	}
	return 0
}

// TestFileCapabilities: an ordinary user's copies keep the capabilities that files have in its containers; others, which are in force
// elsewhere only, are no business of the user's.
func TestFileCapabilities(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	for _, ranges := range []bool{true, false} {
		u := testenv.NewUser(t, ranges)
		dir := filepath.Join(u.Home, "from")
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.Chown(dir, u.ID, u.ID))
		value := func(version byte, root int) []byte {
			v := []byte{1, 0, 0, version, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_raw=ep
			if version == 3 {
				v = binary.LittleEndian.AppendUint32(v, uint32(root))
			}
			return v
		}
		own := value(3, u.ID)
		owner := u.ID
		if ranges {
			owner = u.FirstSub + 7
		}
		for name, x := range map[string]struct {
			owner int
			caps  []byte
		}{"own": {u.ID, own}, "sub": {owner, own}, "host": {u.ID, value(2, 0)}, "other": {u.ID, value(3, 5)}} {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, nil, 0o755))
			require.NoError(t, os.Chown(path, x.owner, x.owner))
			require.NoError(t, unix.Setxattr(path, capabilityXattr, x.caps, 0))
		}
		out, err := u.Command(t, "copy-capable", dir).CombinedOutput()
		require.NoError(t, err, string(out))
		want := ""
		for _, name := range []string{"first", "second"} {
			want += fmt.Sprintf("%s own %x <nil>\n%s sub %x <nil>\n%s host  <nil>\n%s other  <nil>\n", name, own, name, own, name, name)
		}
		require.Equal(t, want, string(out))
	}
}

// TestUserAttributes: an ordinary user's copies keep the attributes of the class user, of files too that are closed to the user.
func TestUserAttributes(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	testenv.ReapOrphans(t)
	for _, ranges := range []bool{true, false} {
		u := testenv.NewUser(t, ranges)
		dir := filepath.Join(u.Home, "from")
		require.NoError(t, os.Mkdir(dir, 0o755))
		owner := u.ID
		if ranges {
			owner = u.FirstSub + 7
		}
		for name, mode := range map[string]os.FileMode{"own": 0o600, "read": 0o444, "write": 0o200, "sub": 0o600, "none": 0} {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, unix.Setxattr(path, "user.of", []byte(name), 0))
			require.NoError(t, os.Chmod(path, mode))
			require.NoError(t, os.Chown(path, owner, owner))
			if name != "sub" {
				require.NoError(t, os.Chown(path, u.ID, u.ID))
			}
		}
		require.NoError(t, os.Chown(dir, u.ID, u.ID))
		require.NoError(t, unix.Setxattr(dir, "user.of", []byte("from"), 0))
		require.NoError(t, os.Chmod(dir, 0o555))
		out, err := u.Command(t, "copy-capable", dir).CombinedOutput()
		require.NoError(t, err, string(out))
		for _, volume := range []string{"first", "second"} {
			found, err := filepath.Glob(filepath.Join(u.Home, "volumes", volume, "*", "own"))
			require.NoError(t, err)
			require.Len(t, found, 1)
			for _, name := range []string{"own", "read", "write", "sub", "none", "from"} {
				path := filepath.Join(filepath.Dir(found[0]), name)
				if name == "from" {
					path = filepath.Dir(path)
				}
				b := make([]byte, 64)
				n, err := unix.Getxattr(path, "user.of", b)
				require.NoError(t, err, "%s of %s", name, volume)
				require.Equal(t, name, string(b[:n]))
			}
		}
	}
}
