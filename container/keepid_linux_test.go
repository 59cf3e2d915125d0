package container_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func init() { programs["keep-id"] = keepIDs }

// keepIDs is an ordinary user's program that starts containers in which it keeps its ids; its argument is the root.
func keepIDs(args []string) int {
	for _, mode := range []string{"keep-id", "keep-id:uid=7,gid=9", "keep-id:uid=0,gid=0", "keep-id:uid=70000,gid=3"} {
		c := container.New(namespace.Dir(args[1]), "who")
		c.UserNamespace = mode
		out, err := c.CombinedOutput(context.Background())
		fmt.Printf("%s: %s%v\n", mode, out, exitText(err))
	}
	return 0
}

// TestKeepID: an ordinary user is itself in the container, or who is asked for, and its files are its own.
func TestKeepID(t *testing.T) {
	testenv.RequireKernel(t, 5, 12)
	u := testenv.NewUser(t, true)
	testenv.ReapOrphans(t)
	root := testenv.NewRootfs(t, "who")
	for _, dir := range []string{"", "/bin", "/dev", "/proc", "/sys"} {
		require.NoError(t, os.Chown(root+dir, u.ID, u.ID))
	}
	b, err := u.Command(t, "keep-id", root).CombinedOutput()
	out := string(b)
	require.NoError(t, err, out)
	id, sub := u.ID, u.FirstSub
	for _, x := range []struct {
		mode     string
		uid, gid int
		uids     string
	}{
		{"keep-id", id, id, fmt.Sprintf("0 %d %d %d %d 1 %d %d %d", sub, id, id, id, id+1, sub+id, 65536-id)},
		{"keep-id:uid=7,gid=9", 7, 9, fmt.Sprintf("0 %d 7 7 %d 1 8 %d %d", sub, id, sub+7, 65536-7)},
		{"keep-id:uid=0,gid=0", 0, 0, fmt.Sprintf("0 %d 1 1 %d 65536", id, sub)},
		{"keep-id:uid=70000,gid=3", 70000, 3, fmt.Sprintf("0 %d 65536 70000 %d 1", sub, id)},
	} {
		require.Regexp(t, fmt.Sprintf(`(?m)^%s: who %d %d \[.*\] \[%s\]\n/bin %d %d$`, x.mode, x.uid, x.gid, x.uids, x.uid, x.gid), out)
	}

	var start *container.StartError
	for mode, want := range map[string]string{
		"keep-id":                "keep-id is for an ordinary user's program",
		"keep-id:":               `keep-id: "" is neither`,
		"keep-id:uid=-1":         `keep-id: "uid=-1" is neither`,
		"keep-id:gid=4294967295": `keep-id: "gid=4294967295" is neither`,
		"keep-id:size=3":         `keep-id: "size=3" is neither`,
	} {
		c := newContainer(t, "true")
		c.UserNamespace = mode
		require.ErrorAs(t, c.Run(t.Context()), &start)
		require.Equal(t, "UserNamespace", start.Path)
		require.ErrorContains(t, start, want)
	}
}
