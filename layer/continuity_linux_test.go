package layer

import (
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/continuity/fs"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestDiffAsContinuity: what Diff finds between two trees is what containerd finds, by containerd/continuity; and hard links whose
// other names are gone, which continuity takes for the same.
func TestDiffAsContinuity(t *testing.T) {
	testenv.RequireRoot(t)
	if testenv.VM() {
		t.Skip("busybox's cp does not keep times to the nanosecond")
	}
	from, to := newFiles(t), t.TempDir()
	out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput()
	require.NoError(t, err, "%s", out)
	c := exec.Command("sh", "-ec", changes)
	c.Dir = to
	out, err = c.CombinedOutput()
	require.NoError(t, err, "%s", out)

	changed, gone, above := map[string]bool{}, map[string]bool{}, map[string]bool{}
	require.NoError(t, fs.Changes(t.Context(), from, to, func(kind fs.ChangeKind, name string, _ os.FileInfo, err error) error {
		name = strings.TrimPrefix(name, "/")
		switch kind {
		case fs.ChangeKindDelete:
			gone[name] = true
		case fs.ChangeKindAdd, fs.ChangeKindModify:
			changed[name] = true
		}
		if kind != fs.ChangeKindUnmodified {
			for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
				above[dir] = true
			}
		}
		return err
	}))
	require.Greater(t, len(changed), 10)
	require.Greater(t, len(gone), 3)
	for _, name := range []string{"bin/zz-hard", "bin/zz-soft-hard"} {
		require.False(t, changed[name])
		changed[name] = true
	}

	var have []string
	for _, name := range tarNames(t, mustDiff(t, to, &DiffOptions{Lower: from})) {
		name = path.Clean(name)
		dir, base := path.Split(name)
		if removed, ok := strings.CutPrefix(base, ".wh."); ok {
			have = append(have, "- "+dir+removed)
		} else if name != "." && (changed[name] || !above[name]) { // a folder is there for what is below it, too
			have = append(have, "+ "+name)
		}
	}
	var want []string
	for name := range changed {
		want = append(want, "+ "+name)
	}
	for name := range gone {
		want = append(want, "- "+name)
	}
	slices.Sort(have)
	slices.Sort(want)
	require.Equal(t, want, have)
}
