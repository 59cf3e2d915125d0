package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

// events collects what a pull says.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(v Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, v)
}

func (e *events) lines() (lines []string) {
	for _, v := range e.list {
		lines = append(lines, v.String())
	}
	return lines
}

func (e *events) count(k Kind) (n int) {
	for _, v := range e.list {
		if v.Kind == k {
			n++
		}
	}
	return n
}

var twoLayers = testImage{cmd: []string{"/a"}, layers: []testLayer{
	{"etc/": "", "etc/motd": "one", "bin/": "", "bin/a": strings.Repeat("program ", 1000)},
	{"etc/.wh.motd": "", "etc/issue": "two"},
}}

func content(t *testing.T, img *Image, n int, name string) string {
	b, err := os.ReadFile(filepath.Join(img.Layers[n].Dir, name))
	require.NoError(t, err)
	return string(b)
}

func TestPull(t *testing.T) {
	testenv.RequireRoot(t)
	for name, i := range map[string]testImage{
		"oci gzip": {}, "oci zstd": {compress: "zstd"}, "oci plain": {compress: "plain"},
		"docker gzip": {docker: true}, "docker plain": {docker: true, compress: "plain"},
		"docker zstd": {docker: true, compress: "zstd"},
	} {
		t.Run(name, func(t *testing.T) {
			i.layers, i.cmd = twoLayers.layers, twoLayers.cmd
			f, s := newFakeRegistry(t), openStore(t, t.TempDir())
			d := f.add(t, i, "v1")
			var e events
			img, err := Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Progress: e.add})
			require.NoError(t, err)
			require.Equal(t, d.Digest, img.Digest)
			require.Equal(t, d.Digest, img.Manifest)
			require.Equal(t, []string{f.ref("app:v1")}, img.Names)
			require.Equal(t, []string{"/a"}, img.Config.Config.Cmd)
			require.Equal(t, int64(1.6e9), img.Created.Unix())
			require.Len(t, img.Layers, 2)
			require.Equal(t, "one", content(t, img, 0, "etc/motd"))
			require.Equal(t, "two", content(t, img, 1, "etc/issue"))
			require.Equal(t, int64(3+8000+3), img.Size)
			require.Equal(t, "linux/amd64", img.Platform())

			lines := e.lines()
			require.Equal(t, "v1: Pulling from app", lines[0])
			require.Equal(t, []string{"Digest: " + d.Digest.String(),
				"Status: Downloaded newer image for " + f.ref("app:v1")}, lines[len(lines)-2:])
			require.Equal(t, 2, e.count(PullingLayer))
			require.Equal(t, 2, e.count(DownloadComplete))
			require.Equal(t, 2, e.count(PullComplete))

			got, err := s.Get(t.Context(), f.ref("app:v1"), nil)
			require.NoError(t, err)
			require.Equal(t, img, got)

			var again events
			_, err = Pull(t.Context(), s, f.ref("app:v1"), &PullOptions{Progress: again.add})
			require.NoError(t, err)
			require.Equal(t, 2, again.count(AlreadyExists))
			require.Equal(t, "Status: Image is up to date for "+f.ref("app:v1"), again.lines()[len(again.list)-1])
			require.Equal(t, 1, f.count(img.ID), "the configuration is fetched once")
			require.Empty(t, left(t, s))
		})
	}
}

// left lists what is in the folders of half-made things.
func left(t *testing.T, s *Store) (names []string) {
	for _, d := range []string{s.path("tmp"), s.path("leases"), filepath.Join(s.layers.Dir(), "tmp")} {
		list, err := os.ReadDir(d)
		require.NoError(t, err)
		for _, e := range list {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestPullNewerKeepsOldWithoutName(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	first := f.add(t, twoLayers, "latest")
	_, err := Pull(t.Context(), s, f.ref("app"), nil)
	require.NoError(t, err)
	second := f.add(t, testImage{layers: twoLayers.layers[:1]}, "latest")
	var e events
	img, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{Progress: e.add})
	require.NoError(t, err)
	require.Equal(t, second.Digest, img.Digest)
	require.Equal(t, 1, e.count(AlreadyExists))
	require.Equal(t, 1, f.count(img.blobs[0].Digest))
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	old := list[slices.IndexFunc(list, func(i *Image) bool { return i.Digest == first.Digest })]
	require.Empty(t, old.Names)

	done, err := s.Prune(t.Context(), &PruneOptions{Untagged: true})
	require.NoError(t, err)
	require.Contains(t, done.Deleted, old.ID)
	require.Contains(t, done.Deleted, old.Layers[1].DiffID)
	require.NotContains(t, done.Deleted, old.Layers[0].DiffID)
	require.Positive(t, done.Bytes)
	list, err = s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
}

func TestPullByDigest(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	d := f.add(t, twoLayers, "v1")
	ref := f.ref("app:v1@" + d.Digest.String())
	var e events
	img, err := Pull(t.Context(), s, ref, &PullOptions{Progress: e.add})
	require.NoError(t, err)
	require.Equal(t, []string{f.ref("app@" + d.Digest.String())}, img.Names)
	require.Equal(t, d.Digest.String()+": Pulling from app", e.lines()[0])
	for _, by := range []string{ref, f.ref("app@" + d.Digest.String()), d.Digest.String(), img.ID.String()} {
		got, err := s.Get(t.Context(), by, nil)
		require.NoError(t, err, by)
		require.Equal(t, img.ID, got.ID)
	}
	_, err = s.Get(t.Context(), f.ref("app:v1"), nil)
	require.ErrorIs(t, err, ErrNotFound, "a pull by digest gives no tag")
	f.Close()
	_, err = Pull(t.Context(), s, ref, nil)
	require.NoError(t, err, "the registry is not needed for a digest that is here")
}

func TestPullPlatforms(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	mk := func(arch, variant string) ocispec.Descriptor {
		return f.add(t, testImage{
			platform: ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant},
			layers:   []testLayer{{"arch": arch + variant}},
		})
	}
	attestation := f.put(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{})
	attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	f.addIndex(t, "latest", mk("amd64", ""), mk("arm", "v6"), mk("arm", "v7"), mk("ppc64le", ""), attestation)
	for want, arch := range map[string]string{
		"linux/amd64": "amd64", "linux/arm": "armv7", "linux/arm/v8": "armv7", "linux/arm/v6": "armv6",
		"linux/arm64": "armv7", "ppc64le": "ppc64le", "linux/x86_64": "amd64",
	} {
		img, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{Platform: want})
		require.NoError(t, err, want)
		require.Equal(t, arch, content(t, img, 0, "arch"), want)
		got, err := s.Get(t.Context(), f.ref("app"), &GetOptions{Platform: want})
		require.NoError(t, err)
		require.Equal(t, img, got)
	}
	_, err := Pull(t.Context(), s, f.ref("app"), &PullOptions{Platform: "linux/arm/v5"})
	var pe *PlatformError
	require.ErrorAs(t, err, &pe)
	require.Equal(t, []string{"linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/ppc64le"}, pe.Available)
	_, err = s.Get(t.Context(), f.ref("app"), &GetOptions{Platform: "linux/s390x"})
	require.ErrorAs(t, err, &pe)
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1, "one index, one image")

	// An image for one platform alone.
	f.add(t, testImage{platform: ocispec.Platform{OS: "linux", Architecture: "s390x"}, layers: twoLayers.layers}, "single")
	_, err = Pull(t.Context(), s, f.ref("app:single"), &PullOptions{Platform: "linux/amd64"})
	require.ErrorAs(t, err, &pe)
	_, err = Pull(t.Context(), s, f.ref("app:single"), nil)
	require.NoError(t, err)
}

func TestPullUnlabelledIndex(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	var list []ocispec.Descriptor
	for _, arch := range []string{"s390x", "riscv64", "amd64"} {
		d := f.add(t, testImage{
			platform: ocispec.Platform{OS: "linux", Architecture: arch}, layers: []testLayer{{"arch": arch}},
		})
		d.Platform = nil
		list = append(list, d)
	}
	inner := f.addIndex(t, "inner", list...)
	f.addIndex(t, "outer", inner)
	img, err := Pull(t.Context(), s, f.ref("app:outer"), &PullOptions{Platform: "linux/riscv64"})
	require.NoError(t, err)
	require.Equal(t, "riscv64", content(t, img, 0, "arch"))
	_, err = Pull(t.Context(), s, f.ref("app:outer"), &PullOptions{Platform: "linux/mips64le"})
	var pe *PlatformError
	require.ErrorAs(t, err, &pe)
}

func TestPullSharesLayers(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, twoLayers, "gzip")
	i := twoLayers
	i.compress = "zstd"
	f.add(t, i, "zstd")
	a, err := Pull(t.Context(), s, f.ref("app:gzip"), nil)
	require.NoError(t, err)
	b, err := Pull(t.Context(), s, f.ref("other:zstd"), nil)
	require.NoError(t, err)
	require.Equal(t, a.Layers, b.Layers, "another compression, the same layers")
	require.NotEqual(t, a.Digest, b.Digest)
	require.Equal(t, a.ID, b.ID)
	l, err := s.layers.List()
	require.NoError(t, err)
	require.Len(t, l, 2)
}

func TestPullTwiceTheSameLayer(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, testImage{layers: []testLayer{{"a": "1"}, {"b": "2"}, {"a": "1"}}}, "v1")
	img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Len(t, img.Layers, 3)
	require.Equal(t, img.Layers[0], img.Layers[2])
	require.Equal(t, 1, f.count(img.blobs[0].Digest))
}

func TestPullConcurrently(t *testing.T) {
	testenv.RequireRoot(t)
	f, dir := newFakeRegistry(t), t.TempDir()
	i := testImage{}
	for n := range 5 {
		i.layers = append(i.layers, testLayer{"f": noise(uint64(n), 300<<10)})
	}
	f.add(t, i, "v1")
	j := testImage{layers: slices.Clone(i.layers)}
	slices.Reverse(j.layers)
	f.add(t, j, "v2")
	f.slow(64<<10, 5e6)
	var wg sync.WaitGroup
	imgs, errs := make([]*Image, 6), make([]error, 6)
	for n := range imgs {
		s := openStore(t, dir)
		wg.Go(func() {
			imgs[n], errs[n] = Pull(t.Context(), s, f.ref([]string{"app:v1", "app:v2"}[n%2]), &PullOptions{Parallel: 2})
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, b := range imgs[0].blobs {
		require.Equal(t, 1, f.count(b.Digest), "two pulls of a layer fetch it once")
	}
	require.Empty(t, left(t, openStore(t, dir)))
}

// TestPullNamesOnce: an error names what was pulled once.
func TestPullNamesOnce(t *testing.T) {
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	ref := f.ref("nothing:1")
	_, err := Pull(t.Context(), s, ref, nil)
	require.ErrorContains(t, err, "pull "+ref+": ")
	require.Equal(t, 1, strings.Count(err.Error(), ref), "%v", err)
	f.add(t, testImage{layers: []testLayer{{"f": "x"}}}, "v1")
	ref = f.ref("app:v1")
	_, err = Pull(t.Context(), s, ref, &PullOptions{Platform: "linux/s390x"})
	require.ErrorContains(t, err, "pull "+ref+": ")
	require.Equal(t, 1, strings.Count(err.Error(), ref), "%v", err)
}

func TestPullEndsWithContext(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, testImage{layers: []testLayer{{"f": noise(1, 4<<20)}}}, "v1")
	f.slow(64<<10, 20e6)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Pull(ctx, s, f.ref("app:v1"), &PullOptions{Progress: func(e Event) {
		if e.Kind == Downloading && e.Current > 1<<20 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, left(t, s), 1, "the beginning is kept")
	_, err = s.Get(t.Context(), f.ref("app:v1"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)

	f.slow(0, 0)
	_, err = Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	require.Len(t, f.ranges, 1)
	require.Empty(t, left(t, s))
}

func TestPullMountsAsOneRoot(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	f.add(t, twoLayers, "v1")
	img, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
	require.NoError(t, err)
	at := t.TempDir()
	root, err := layer.Mount(t.Context(), img.Layers, &layer.MountOptions{ReadOnly: true, Target: at})
	require.NoError(t, err)
	defer root.Close()
	_, err = os.Stat(filepath.Join(at, "etc/motd"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	b, err := os.ReadFile(filepath.Join(at, "etc/issue"))
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
}
