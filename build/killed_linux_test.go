package build

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// killed is what the program builds that is killed.
const killed = `FROM base AS a
RUN --mount=type=secret,id=s --mount=type=cache,target=/c,sharing=locked echo x >>/c/x; cp /c/x /x
FROM base
COPY --from=a /x /x
RUN --mount=from=a,target=/a --mount=target=/b cat /a/x /b/f >/y
VOLUME /v
RUN echo 1 >/v/1
COPY . /all/
`

// buildForever is a helper program: it builds without the cache until it is killed.
func buildForever(args []string) int {
	ctx := context.Background()
	e, err := engine.Open(ctx, args[1], &engine.Options{NetworkNamespace: args[2]})
	for err == nil {
		_, err = Build(ctx, e, Dir(args[3]), &Options{
			Content: []byte(killed), NoCache: true, Secrets: map[string][]byte{"s": []byte("hush")}, Container: engine.Config{Network: "none"},
		})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKilled kills a program that builds, at any time: who opens the folder next and builds leaves no container, no file of the build that
// was killed, above all no secret, and an image store that is whole.
func TestKilled(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.ReapOrphans(t) // of the program that is killed
	ns := testenv.NewNetns(t)
	e := newEngineIn(t, ns)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o600))
	for range 3 {
		cmd := exec.Command("/proc/self/exe", e.Root(), ns, dir)
		cmd.Args[0], cmd.Stderr = "build-forever", os.Stderr
		require.NoError(t, cmd.Start())
		time.Sleep(50*time.Millisecond + time.Duration(rand.Int64N(int64(600*time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it ended before it was killed")
	}
	next, err := engine.Open(t.Context(), e.Root(), &engine.Options{NetworkNamespace: ns})
	require.NoError(t, err)
	tmp := filepath.Join(e.Root(), "tmp")
	require.Eventually(t, func() bool { // Open deletes what is left in the background
		entries, err := os.ReadDir(tmp)
		return err == nil && len(entries) == 0
	}, time.Minute, 10*time.Millisecond)
	must(t, next, Dir(dir), killed, nil)
	require.NoError(t, next.ImageStore().Check(t.Context(), &image.CheckOptions{}))
	volumes, err := next.Volumes().List()
	require.NoError(t, err)
	require.Len(t, volumes, 1) // the cache
	_, err = next.PruneBuildCache(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, next.Close())
	entries, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, entries)
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), strings.TrimPrefix(e.Root(), "/"))
}
