package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

// pullProgram pulls args[2] into the store args[1].
func pullProgram(args []string) int {
	s, err := Open(args[1])
	if err == nil {
		_, err = Pull(context.Background(), s, args[2], &PullOptions{Progress: func(e Event) { fmt.Println(e) }})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func pullCommand(dir, ref string) (*exec.Cmd, *bytes.Buffer) {
	out := &bytes.Buffer{}
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{"image-pull", dir, ref}, Stdout: out, Stderr: out}, out
}

// TestPullKilled kills a pull at random times, often enough that it gets done in the end, and looks at what is left
// each time.
func TestPullKilled(t *testing.T) {
	testenv.RequireRoot(t)
	f, dir := newFakeRegistry(t), t.TempDir()
	i := testImage{}
	var total int
	for n := range 6 {
		l := testLayer{}
		for k := range 40 {
			l[fmt.Sprintf("d%d/f%d", n, k)] = noise(uint64(n*100+k), 20<<10)
		}
		i.layers = append(i.layers, l)
	}
	for range i.layers {
		total += 40 * 20 << 10
	}
	f.add(t, i, "v1")
	f.slow(16<<10, 4e6)
	kills := 0
	for {
		cmd, out := pullCommand(dir, f.ref("app:v1"))
		require.NoError(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var err error
		select {
		case err = <-ended:
		case <-time.After(time.Duration(20+rand.IntN(80+10*kills)) * time.Millisecond):
			if kerr := cmd.Process.Kill(); !errors.Is(kerr, os.ErrProcessDone) {
				require.NoError(t, kerr)
				kills++
			}
			err = <-ended
		}
		s, oerr := Open(dir)
		require.NoError(t, oerr)
		require.NoError(t, s.Check(t.Context(), &CheckOptions{Deep: true}))
		if err == nil {
			break
		}
		require.Contains(t, err.Error(), "killed", out.String())
		require.Less(t, kills, 500)
	}
	require.Greater(t, kills, 1)
	f.mu.Lock()
	resumed := len(f.ranges)
	f.mu.Unlock()
	require.Positive(t, resumed)
	t.Logf("%d kills, %d resumed blobs", kills, resumed)
	s := openStore(t, dir)
	_, err := s.Prune(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, left(t, s))
	img, err := s.Get(t.Context(), f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Equal(t, int64(total), img.Size)
}

func TestPullByTwoProcesses(t *testing.T) {
	testenv.RequireRoot(t)
	f, dir := newFakeRegistry(t), t.TempDir()
	d := f.add(t, testImage{layers: []testLayer{{"a": noise(1, 1<<20)}, {"b": noise(2, 1<<20)}}}, "v1")
	f.slow(64<<10, 10e6)
	a, outA := pullCommand(dir, f.ref("app:v1"))
	b, outB := pullCommand(dir, f.ref("app:v1"))
	require.NoError(t, a.Start())
	require.NoError(t, b.Start())
	require.NoError(t, a.Wait(), outA)
	require.NoError(t, b.Wait(), outB)
	img, err := openStore(t, dir).Get(t.Context(), d.Digest.String(), nil)
	require.NoError(t, err)
	for _, blob := range img.blobs {
		require.Equal(t, 1, f.count(blob.Digest))
	}
	require.Contains(t, outA.String()+outB.String(), string(Waiting))
}

// TestPullWaitsForKilled: what a process that was killed had locked, another takes over.
func TestPullWaitsForKilled(t *testing.T) {
	testenv.RequireRoot(t)
	f, dir := newFakeRegistry(t), t.TempDir()
	f.add(t, testImage{layers: []testLayer{{"a": noise(1, 2<<20)}}}, "v1")
	f.slow(64<<10, 20e6)
	cmd, _ := pullCommand(dir, f.ref("app:v1"))
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		list, _ := os.ReadDir(dir + "/images/tmp")
		for _, e := range list {
			if fi, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), partSuffix) && fi.Size() > 256<<10 {
				return true
			}
		}
		return false
	}, time.Minute, 5*time.Millisecond)
	s := openStore(t, dir)
	waits := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		_, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Progress: func(e Event) {
			if e.Kind == Waiting {
				waits <- struct{}{}
			}
		}})
		done <- err
	}()
	<-waits
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.NoError(t, <-done)
	require.Empty(t, left(t, openStore(t, dir)), "the next Open sweeps what the killed one left")
}

// TestKilledPullKeepsLayers: a layer that a pull had extracted whole before it was killed is not extracted again.
func TestKilledPullKeepsLayers(t *testing.T) {
	testenv.RequireRoot(t)
	f, dir := newFakeRegistry(t), t.TempDir()
	f.add(t, testImage{layers: []testLayer{{"small": noise(1, 64<<10)}, {"big": noise(2, 1<<20)}}}, "v1")
	f.spoilBlobs(func(_ http.ResponseWriter, r *http.Request, blob []byte) bool {
		if len(blob) < 1<<20 {
			return false
		}
		<-r.Context().Done() // the big one never comes
		return true
	})
	cmd, _ := pullCommand(dir, f.ref("app:v1"))
	require.NoError(t, cmd.Start())
	var extracted os.FileInfo
	require.Eventually(t, func() bool {
		found, _ := filepath.Glob(dir + "/layers/tmp/*/layer.json")
		if len(found) == 0 {
			return false
		}
		fi, err := os.Stat(filepath.Join(filepath.Dir(found[0]), "fs", "small"))
		extracted = fi
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	f.spoilBlobs(nil)

	s := openStore(t, dir)
	var events []Event
	img, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Progress: func(e Event) { events = append(events, e) }})
	require.NoError(t, err)
	small := img.blobs[0]
	require.Equal(t, 1, f.count(small.Digest), "nor is it fetched again")
	for _, e := range events {
		require.False(t, e.Kind == Extracting && e.Digest == small.Digest)
	}
	now, err := os.Stat(filepath.Join(img.Layers[0].Dir, "small"))
	require.NoError(t, err)
	require.True(t, os.SameFile(extracted, now))
	require.Empty(t, left(t, s))
}

// TestEndedPullKeepsLayers is the same for a pull whose context ends.
func TestEndedPullKeepsLayers(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	l := testLayer{"small": noise(1, 64<<10)}
	f.add(t, testImage{layers: []testLayer{l, {"big": noise(2, 1<<20)}}}, "v1")
	small := digest.FromBytes(l.tar(t))
	f.spoilBlobs(func(_ http.ResponseWriter, r *http.Request, blob []byte) bool {
		if len(blob) < 1<<20 {
			return false
		}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Pull(ctx, s, f.ref("app:v1"), &PullOptions{Progress: func(e Event) {
		if e.Kind == Extracting && e.Current == e.Total {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Layers().Get(small)
	require.NoError(t, err)
	f.spoilBlobs(nil)
	_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Empty(t, left(t, s))
}

// TestLayerOfAnotherBlob: that a layer is in the store does not make every blob one of it.
func TestLayerOfAnotherBlob(t *testing.T) {
	s, img, _ := pulled(t, testLayer{"a": "x"})
	f := newFakeRegistry(t)
	f.add(t, testImage{layers: []testLayer{{"a": "another"}}, mangle: func(_ *ocispec.Manifest, c *ocispec.Image) {
		if c != nil {
			c.RootFS.DiffIDs[0] = img.Config.RootFS.DiffIDs[0]
		}
	}}, "bad")
	_, err := Pull(t.Context(), s, f.ref("app:bad"), nil)
	require.ErrorIs(t, err, layer.ErrDigest)
}
