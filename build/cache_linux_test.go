package build

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// hits is how many steps of a build came from the cache.
func hits(out string) int { return strings.Count(out, "---> Using cache\n") }

// TestCache changes one thing after another and counts the steps that are taken from the cache.
func TestCache(t *testing.T) {
	e := newEngine(t)
	dir := t.TempDir()
	write := func(text string, mode os.FileMode, age time.Duration) {
		name := filepath.Join(dir, "a")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		require.NoError(t, os.Chmod(name, mode))
		require.NoError(t, os.Chtimes(name, time.Time{}, time.Now().Add(-age)))
	}
	const dockerfile = "FROM base\nARG v\nRUN --mount=type=secret,id=s echo $v >/x\nCOPY a /a\nENV e=1\nRUN true\nCMD [\"sh\"]"
	last := &image.Image{}
	same := func(name string, want int, o *Options) {
		t.Helper()
		if o == nil {
			o = &Options{}
		}
		if o.Args == nil {
			o.Args = map[string]string{"v": "1"}
		}
		img, out := must(t, e, Dir(dir), dockerfile, o)
		require.Equal(t, want, hits(out), "%s\n%s", name, out)
		require.Equal(t, want == 3, img.ID == last.ID, name)
		last = img
	}
	write("A", 0o644, 0)
	same("first", 0, nil)
	same("again", 3, nil)
	write("A", 0o644, time.Hour)
	same("another time", 3, nil)
	same("another secret", 3, &Options{Secrets: map[string][]byte{"s": []byte("x")}})
	same("a proxy", 3, &Options{Args: map[string]string{"v": "1", "HTTP_PROXY": "x"}})
	write("B", 0o644, 0)
	same("another content", 1, nil)
	write("B", 0o600, 0)
	same("another mode", 1, nil)
	same("another argument", 0, &Options{Args: map[string]string{"v": "2"}})
	same("no cache", 0, &Options{NoCache: true})
	same("what was made without", 3, nil)
	require.NoError(t, e.ImageStore().Check(t.Context(), &image.CheckOptions{Unreferenced: true})) // what it takes the place of, too

	// Another program's engine has it, too.
	other, err := engine.Open(t.Context(), e.Root(), &engine.Options{NetworkNamespace: testenv.NewNetns(t)})
	require.NoError(t, err)
	_, out := must(t, other, Dir(dir), dockerfile, &Options{Args: map[string]string{"v": "1"}})
	require.Equal(t, 3, hits(out))
	require.NoError(t, other.Close())

	require.NoError(t, e.Tag(t.Context(), last.ID.String(), "kept"))
	_, err = e.PruneImages(t.Context(), false, nil)
	require.NoError(t, err)
	same("after a prune of images", 3, nil)
	_, err = e.PruneBuildCache(t.Context(), nil)
	require.NoError(t, err)
	same("after a prune of the cache", 0, nil)
	require.Equal(t, "1\n", inside(t, e, "kept", "cat /x"))
}

// TestReproducible builds twice, at different times and of files with different times, with SOURCE_DATE_EPOCH.
func TestReproducible(t *testing.T) {
	e := newEngine(t)
	var ids []string
	for _, age := range []time.Duration{0, time.Hour} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, "a"), time.Time{}, time.Now().Add(-age)))
		img, _ := must(t, e, Dir(dir), "FROM scratch\nCOPY a /d/\nWORKDIR /w\nLABEL a=b", &Options{
			NoCache: true, Args: map[string]string{"SOURCE_DATE_EPOCH": "1000000000"},
		})
		ids = append(ids, img.ID.String())
		require.Equal(t, int64(1000000000), img.Created.Unix())
	}
	require.Equal(t, ids[0], ids[1])
}

// TestMounts keeps what a cache has, and shows a secret only while the command runs.
func TestMounts(t *testing.T) {
	e := newEngine(t)
	const dockerfile = `FROM base
RUN --mount=type=cache,target=/c,mode=700,sharing=locked echo x >>/c/f; cat /c/f >/n; stat -c %a /c >>/n
RUN --mount=type=secret,id=s,uid=1000 --mount=type=secret,id=none cat /run/secrets/s >/s; stat -c %u:%a /run/secrets/s >>/s
`
	o := func() *Options { return &Options{NoCache: true, Secrets: map[string][]byte{"s": []byte("hush\n")}} }
	must(t, e, nil, dockerfile, o())
	img, _ := must(t, e, nil, dockerfile, o())
	require.Equal(t, "x\nx\n700\nhush\n1000:400\n", inside(t, e, img.ID.String(), "cat /n /s; test ! -s /run/secrets/s; ls /c"))
	list, err := e.Volumes().List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = e.PruneBuildCache(t.Context(), nil)
	require.NoError(t, err)
	list, err = e.Volumes().List()
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestInterrupted ends a build while a command runs, and finds what one that was killed had made.
func TestInterrupted(t *testing.T) {
	e := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Build(ctx, e, nil, &Options{
		Content: []byte("FROM base\nRUN echo now; sleep 100"), Container: engine.Config{Network: "none"},
		Output: writer(func(p []byte) {
			if bytes.Contains(p, []byte("now\n")) && !bytes.Contains(p, []byte("RUN")) {
				cancel()
			}
		}),
	})
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(filepath.Join(e.Root(), "tmp"))
	require.NoError(t, err)
	require.Empty(t, entries)

	_, err = e.Create(t.Context(), &engine.Config{Image: "base", Labels: map[string]string{builderLabel: filepath.Join(e.Root(), "tmp", "gone")}})
	require.NoError(t, err)
	must(t, e, nil, "FROM base\nLABEL a=b", nil) // newEngine looks for containers
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
