package namespace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKeepAtEnd: what a file says when the process has ended is kept, not what it said before; and where it cannot be read, or kept, the
// end is written down all the same.
func TestKeepAtEnd(t *testing.T) {
	root := keptRoot(t)
	said := filepath.Join(t.TempDir(), "says")
	for _, x := range []struct {
		name string
		file string // to read
		want string
	}{{"file", said, "oom_kill 1\n"}, {"folder", t.TempDir(), ""}, {"taken", said, "taken"}} {
		t.Run(x.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(said, []byte("oom_kill 0, and so on\n"), 0o600))
			f, err := os.Open(x.file)
			require.NoError(t, err)
			dir := t.TempDir()
			l := keptLaunch(root, dir, "chat")
			l.Keep.AtEnd = f
			if x.name == "taken" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, AtEndFile), []byte("taken"), 0o600))
			}
			p, err := l.Start(t.Context())
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.NoError(t, os.WriteFile(said, []byte("oom_kill 1\n"), 0o600))
			require.NoError(t, p.CloseInput(t.Context()))
			s, err := p.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, 7, s.Code)
			require.NoError(t, p.Close())
			b, err := os.ReadFile(filepath.Join(dir, AtEndFile))
			if x.want == "" {
				require.ErrorIs(t, err, os.ErrNotExist)
			} else {
				require.NoError(t, err)
				require.Equal(t, x.want, string(b))
			}
		})
	}
}
