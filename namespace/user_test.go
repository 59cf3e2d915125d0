package namespace

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const testPasswd = `root:x:0:0:root:/root:/bin/sh
# comment:x:7:7::/:
app:x:1000:1001:App,,,:/home/app:/bin/sh
bad:x:4294967296:0::/:
minus:x:-1:0::/:
wrap:x:99999999999999999999999:0::/:
nohome:x:1500:1500
app:x:2000:2000:second:/second:/bin/sh
+nis:x:9:9::/:
short:x:5
1234:x:3000:3000::/digits:/bin/sh
`

const testGroup = `root:x:0:root
users:x:100:app,other
audio:x:29:other,app
bad:x:4294967295:app
again:x:100:app
app:x:1001:
near:x:55:apps,xapp
empty:x:56:
nine:x:9
`

func lookup(spec string, extra ...string) (*User, error) {
	u, err := findUser([]byte(testPasswd), strings.SplitN(spec, ":", 2)[0])
	if err != nil {
		return nil, err
	}
	_, group, _ := strings.Cut(spec, ":")
	return u, u.findGroups([]byte(testGroup), group, extra)
}

func TestFindUser(t *testing.T) {
	for _, c := range []struct {
		spec  string
		extra []string
		want  User
	}{
		{"", nil, User{"root", 0, 0, []uint32{0}, "/root"}},
		{"root", nil, User{"root", 0, 0, []uint32{0}, "/root"}},
		{"app", nil, User{"app", 1000, 1001, []uint32{1001, 100, 29}, "/home/app"}},
		{"1000", nil, User{"app", 1000, 1001, []uint32{1001, 100, 29}, "/home/app"}},
		{"app:audio", nil, User{"app", 1000, 29, []uint32{29}, "/home/app"}},
		{"app:77", nil, User{"app", 1000, 77, []uint32{77}, "/home/app"}},
		{"app:", nil, User{"app", 1000, 1001, []uint32{1001, 100, 29}, "/home/app"}},
		{":audio", nil, User{"root", 0, 29, []uint32{29}, "/root"}},
		{"4000", nil, User{"", 4000, 0, []uint32{0}, "/"}},
		{"4000:audio", nil, User{"", 4000, 29, []uint32{29}, "/"}},
		{"4000:4001", []string{"9", "users", "4001"}, User{"", 4000, 4001, []uint32{4001, 9, 100}, "/"}},
		{"app", []string{"55", "audio"}, User{"app", 1000, 1001, []uint32{1001, 100, 29, 55}, "/home/app"}},
		{"nohome", nil, User{"nohome", 1500, 1500, []uint32{1500}, "/"}},
		{"1234", nil, User{"1234", 3000, 3000, []uint32{3000}, "/digits"}}, // a name, as Docker reads it
		{"2147483647", nil, User{"", 2147483647, 0, []uint32{0}, "/"}},
	} {
		u, err := lookup(c.spec, c.extra...)
		require.NoError(t, err, c.spec)
		require.Equal(t, c.want, *u, c.spec)
	}
}

func TestFindUserNot(t *testing.T) {
	for _, name := range []string{"nobody2", "bad", "minus", "wrap", "+nis", "short", "comment", "#", " app", "App", "app\x00"} {
		_, err := lookup(name)
		require.ErrorIs(t, err, ErrNoUser, name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.EqualError(t, err, "unable to find user "+name+": no matching entries in passwd file")
	}
	_, err := lookup("app:bad")
	require.ErrorIs(t, err, ErrNoGroup)
	require.EqualError(t, err, "unable to find group bad: no matching entries in group file")
	_, err = lookup("app", "audio", "nowhere")
	require.EqualError(t, err, "unable to find group nowhere: no matching entries in group file")
}

// TestIDOverflow is CVE-2024-40635: an id above what fits became root.
func TestIDOverflow(t *testing.T) {
	for _, id := range []string{
		"-1", "-0", "+5", "2147483648", "4294967295", "4294967296", "65536000000000000000000", "18446744073709551616",
	} {
		for _, spec := range []string{id, "app:" + id, id + ":0"} {
			_, err := Dir("/").LookupUser(spec)
			require.ErrorContains(t, err, "uids and gids must be in range 0-2147483647", spec)
		}
		_, err := Dir("/").LookupUser("0", id)
		require.ErrorContains(t, err, "range 0-2147483647", id)
	}
	_, err := Dir("/").LookupUser("a:b:c")
	require.EqualError(t, err, `user "a:b:c": more than one colon`)
}

func TestManyGroups(t *testing.T) {
	var group bytes.Buffer
	for i := range maxGroups + 1 {
		fmt.Fprintf(&group, "g:x:%d:u\n", i+1)
	}
	u := &User{Name: "u"}
	require.ErrorContains(t, u.findGroups(group.Bytes(), "", nil), "more groups than the kernel's limit")
}

func FuzzFindUser(f *testing.F) {
	f.Add([]byte(testPasswd), []byte(testGroup), "app:audio", "users")
	f.Add([]byte("::::::\n:x:0:0\n\x00:x:1:1"), []byte(",,,:::"), "0", "")
	f.Add([]byte("a:x:1:1::/:\r\n"), []byte("b:x:2:a,a,a"), "a", "2")
	f.Fuzz(func(t *testing.T, passwd, group []byte, spec, extra string) {
		name, g, _ := strings.Cut(spec, ":")
		u, err := findUser(passwd, name)
		if err != nil {
			return
		}
		if err := u.findGroups(group, g, []string{extra}); err != nil {
			return
		}
		require.LessOrEqual(t, u.UID, uint32(maxID))
		require.LessOrEqual(t, u.GID, uint32(maxID))
		require.Equal(t, u.GID, u.Groups[0])
		seen := map[uint32]bool{}
		for _, g := range u.Groups {
			require.LessOrEqual(t, g, uint32(maxID))
			require.False(t, seen[g])
			seen[g] = true
		}
		require.NotEmpty(t, u.Home)
		if id, numeric, _ := parseID(name); numeric && u.Name == "" {
			require.Equal(t, id, u.UID)
		}
	})
}
