package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

func mustSave(t *testing.T, s *Store, o *SaveOptions, refs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, s.Save(t.Context(), &b, refs, o))
	return b.Bytes()
}

// members reads a tar archive.
func members(t *testing.T, data []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NotContains(t, all, h.Name, "twice")
		all[h.Name] = string(b)
	}
}

func TestSaveAndLoad(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"}, testLayer{"b": "2"})
	f.add(t, testImage{layers: []testLayer{{"a": "1"}, {"c": "3"}}, docker: true}, "v2")
	two, err := Pull(t.Context(), s, f.ref("app:v2"), nil)
	require.NoError(t, err)
	s.mustTag(t, img.ID.String(), "alpine")
	s.mustTag(t, img.ID.String(), "alpine:3")
	for _, o := range []*SaveOptions{nil, {Format: OCIArchive}} {
		data := mustSave(t, s, o, "alpine", f.ref("app:v2"), img.ID.String())
		require.Equal(t, data, mustSave(t, s, o, "alpine", f.ref("app:v2"), img.ID.String()))
		all := members(t, data)
		if o == nil {
			var m []dockerManifest
			require.NoError(t, json.Unmarshal([]byte(all["manifest.json"]), &m))
			require.Equal(t, []string{"alpine:3", "alpine:latest"}, m[0].RepoTags)
			require.Equal(t, []string{f.ref("app:v2")}, m[1].RepoTags)
			require.Contains(t, all, m[0].Layers[1])
		}
		for _, how := range []string{"plain", "", "zstd"} {
			into := openStore(t, t.TempDir())
			done, err := into.Load(t.Context(), bytes.NewReader(compress(t, how, data)), nil)
			require.NoError(t, err)
			require.Equal(t, []Loaded{
				{"docker.io/library/alpine:3", img.ID}, {"docker.io/library/alpine:latest", img.ID}, {f.ref("app:v2"), two.ID}, {"", img.ID},
			}, done)
			for ref, want := range map[string]*Image{"alpine:3": img, f.ref("app:v2"): two} {
				got, err := into.Lookup(t.Context(), ref, nil)
				require.NoError(t, err)
				require.Equal(t, want.Digest, got.Digest)
				require.NotNil(t, got.Layers, "extracted")
			}
			// Once more changes nothing.
			_, err = into.Load(t.Context(), bytes.NewReader(data), nil)
			require.NoError(t, err)
			checkStore(t, into)
			requireEmpty(t, into, "tmp", "leases")
		}
	}
	require.ErrorIs(t, s.Save(t.Context(), io.Discard, []string{"none"}, nil), ErrNotFound)
	require.ErrorIs(t, s.Save(t.Context(), io.Discard, []string{"alpine"}, &SaveOptions{Format: "x"}), errors.ErrUnsupported)
	require.Error(t, s.Save(t.Context(), io.Discard, []string{"alpine"}, &SaveOptions{Platform: "linux/s390x"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Save(ctx, io.Discard, []string{"alpine"}, nil), context.Canceled)
	_, err = s.Load(ctx, bytes.NewReader(nil), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func requireEmpty(t testing.TB, s *Store, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		left, err := os.ReadDir(s.path(dir))
		require.NoError(t, err)
		require.Empty(t, left, dir)
	}
}

// TestSaveIndex: of a multi-platform image the index stays, and with it the digest; or one platform is saved.
func TestSaveIndex(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	arm := ocispec.Platform{OS: "linux", Architecture: "arm64"}
	f.addIndex(t, "multi", f.add(t, testImage{layers: []testLayer{{"a": "1"}}}),
		f.add(t, testImage{layers: []testLayer{{"a": "arm"}}, platform: arm}))
	var both []*Image
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		img, err := Pull(t.Context(), s, f.ref("app:multi"), &PullOptions{Platform: p})
		require.NoError(t, err)
		both = append(both, img)
	}
	into := openStore(t, t.TempDir())
	_, err := into.Load(t.Context(), bytes.NewReader(mustSave(t, s, nil, f.ref("app:multi"))), nil)
	require.NoError(t, err)
	for _, want := range both {
		got, err := into.Get(t.Context(), f.ref("app:multi"), &GetOptions{Platform: want.Platform()})
		require.NoError(t, err)
		require.Equal(t, want.ID, got.ID)
		require.Equal(t, both[0].Digest, got.Digest)
	}
	into = openStore(t, t.TempDir())
	done, err := into.Load(t.Context(), bytes.NewReader(mustSave(t, s, &SaveOptions{Platform: "linux/arm64"}, f.ref("app:multi"))), nil)
	require.NoError(t, err)
	require.Equal(t, []Loaded{{f.ref("app:multi"), both[1].ID}}, done)
	got, err := into.Get(t.Context(), f.ref("app:multi"), nil)
	require.NoError(t, err)
	require.Equal(t, both[1].Manifest, got.Digest)
}

// TestLoadPlatform: of an archive's images one platform is brought in, and nothing of the others; one that is not there is an error that
// leaves nothing.
func TestLoadPlatform(t *testing.T) {
	testenv.RequireRoot(t)
	f, s := newFakeRegistry(t), openStore(t, t.TempDir())
	mk := func(arch string) ocispec.Descriptor {
		return f.add(t, testImage{layers: []testLayer{{"arch": arch}}, platform: ocispec.Platform{OS: "linux", Architecture: arch}})
	}
	amd, arm := mk("amd64"), mk("arm64")
	inner := f.addIndex(t, "inner", arm)
	f.addIndex(t, "flat", amd, arm)
	f.addIndex(t, "nested", inner)
	for _, tag := range []string{"flat", "nested"} {
		_, err := Pull(t.Context(), s, f.ref("app:"+tag), &PullOptions{AllPlatforms: true, Platform: "linux/arm64"})
		require.NoError(t, err)
		archive := mustSave(t, s, nil, f.ref("app:"+tag))
		into := openStore(t, t.TempDir())
		done, err := into.Load(t.Context(), bytes.NewReader(archive), &LoadOptions{Platform: "linux/arm64"})
		require.NoError(t, err)
		got, err := into.Get(t.Context(), f.ref("app:"+tag), &GetOptions{Platform: "linux/arm64"})
		require.NoError(t, err)
		require.Equal(t, arm.Digest, got.Manifest)
		require.Equal(t, []Loaded{{f.ref("app:" + tag), got.ID}}, done)
		require.Equal(t, "arm64", content(t, got, 0, "arch"))
		require.False(t, into.hasBlob(amd))

		for platform, message := range map[string]string{"linux/s390x": "no image for platform linux/s390x; there is: linux/", "/": "platform"} {
			into = openStore(t, t.TempDir())
			_, err = into.Load(t.Context(), bytes.NewReader(archive), &LoadOptions{Platform: platform})
			require.ErrorContains(t, err, message)
			list, err := into.List(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
			require.False(t, into.hasBlob(arm))
		}
	}
	one := mustSave(t, s, &SaveOptions{Platform: "linux/amd64"}, f.ref("app:flat"))
	_, err := openStore(t, t.TempDir()).Load(t.Context(), bytes.NewReader(one), &LoadOptions{Platform: "linux/arm64"})
	var missing *PlatformError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"linux/amd64"}, missing.Available)
}

// TestSkopeoArchives: what we save skopeo reads, and what it writes we load.
func TestSkopeoArchives(t *testing.T) {
	testenv.RequireCommand(t, "skopeo")
	s, img, _ := pulled(t, testLayer{"a": "1"}, testLayer{"b": noise(1, 1<<16)})
	s.mustTag(t, img.ID.String(), "alpine:3")
	s.mustTag(t, img.ID.String(), "other:1")
	dir := t.TempDir()
	for format, name := range map[Format]string{DockerArchive: "docker-archive", OCIArchive: "oci-archive"} {
		ours := filepath.Join(dir, name+".tar")
		refs := []string{"alpine:3"}
		if format == DockerArchive {
			refs = append(refs, "other:1")
		}
		require.NoError(t, os.WriteFile(ours, mustSave(t, s, &SaveOptions{Format: format}, refs...), 0o644))
		from := name + ":" + ours + map[Format]string{DockerArchive: ":alpine:3", OCIArchive: ":docker.io/library/alpine:3"}[format]
		var got struct{ Layers []digest.Digest }
		require.NoError(t, json.Unmarshal([]byte(skopeo(t, "inspect", from)), &got))
		require.Len(t, got.Layers, 2)
		theirs := filepath.Join(dir, name+"-theirs.tar")
		skopeo(t, "copy", from, name+":"+theirs+":docker.io/library/back:1")
		into := openStore(t, t.TempDir())
		file, err := os.Open(theirs)
		require.NoError(t, err)
		done, err := into.Load(t.Context(), file, nil)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Len(t, done, 1)
		require.Equal(t, "docker.io/library/back:1", done[0].Name)
		back, err := into.Get(t.Context(), "back:1", nil)
		require.NoError(t, err)
		require.Equal(t, img.Config.RootFS, back.Config.RootFS)
		if format == OCIArchive {
			require.Equal(t, img.Digest, back.Digest)
		}
	}
	// An archive in Docker's form is an OCI archive too.
	ours := filepath.Join(dir, "docker-archive.tar")
	skopeo(t, "copy", "oci-archive:"+ours+":3", "dir:"+filepath.Join(dir, "out"))
}

// An archived is a member of an archive to be made; a link when it has a target.
type archived struct {
	name, body, target string
	typ                byte
	holes              int // how long the member is by its header, which has nothing of it
}

func newArchive(t testing.TB, list ...archived) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		if m.holes > 0 { // which archive/tar does not write
			require.NoError(t, w.Flush())
			b.Write(newSparse(t, m.name, m.holes))
			continue
		}
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.body)), Linkname: m.target, Typeflag: m.typ}
		if m.typ == 0 {
			h.Typeflag = tar.TypeReg
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write([]byte(m.body))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// newSparse is a member in GNU's old format for sparse files, all of it a hole.
func newSparse(t testing.TB, name string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatGNU}))
	require.NoError(t, w.Flush())
	h := b.Bytes()
	h[156] = tar.TypeGNUSparse
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", size, 0)) // where its data is
	copy(h[483:], fmt.Sprintf("%011o\x00", size))
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00", sum))
	return h
}

// oldConfig is a configuration for layers.
func oldConfig(t testing.TB, layers ...[]byte) (name, body string) {
	t.Helper()
	c := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l))
	}
	b, err := json.Marshal(c)
	require.NoError(t, err)
	return digest.FromBytes(b).Encoded() + ".json", string(b)
}

// TestLoadOldDocker loads what docker save wrote before Docker 25: layers in folders, a link where two images have the same.
func TestLoadOldDocker(t *testing.T) {
	testenv.RequireRoot(t)
	one, two := testLayer{"a": "1"}.tar(t), testLayer{"b": "2"}.tar(t)
	c1, b1 := oldConfig(t, one)
	c2, b2 := oldConfig(t, one, two)
	manifest := fmt.Sprintf(`[{"Config":%q,"RepoTags":["old:1","quay.io/x/old:2"],"Layers":["aa/layer.tar"]},
		{"Config":%q,"RepoTags":null,"Layers":["bb/layer.tar","cc/layer.tar"]}]`, c1, c2)
	data := newArchive(t, archived{name: "aa/", typ: tar.TypeDir}, archived{name: "aa/VERSION", body: "1.0"},
		archived{name: "aa/layer.tar", body: string(one)}, archived{name: "aa/json", body: "{}"},
		archived{name: "bb/layer.tar", target: "../aa/layer.tar", typ: tar.TypeSymlink},
		archived{name: "./cc/layer.tar", body: string(two)}, archived{name: c1, body: b1}, archived{name: c2, body: b2},
		archived{name: "manifest.json", body: manifest}, archived{name: "repositories", body: "{}"})
	s := openStore(t, t.TempDir())
	done, err := s.Load(t.Context(), bytes.NewReader(data), nil)
	require.NoError(t, err)
	id1, id2 := digest.FromString(b1), digest.FromString(b2)
	require.Equal(t, []Loaded{{"docker.io/library/old:1", id1}, {"quay.io/x/old:2", id1}, {"", id2}}, done)
	got, err := s.Get(t.Context(), "old:1", nil)
	require.NoError(t, err)
	require.Equal(t, id1, got.ID)
	got, err = s.Get(t.Context(), id2.String(), nil)
	require.NoError(t, err)
	require.Len(t, got.Layers, 2)
}

// TestLoadHostile: each archive is refused, and nothing of it stays.
func TestLoadHostile(t *testing.T) {
	testenv.RequireRoot(t)
	l := testLayer{"a": "1"}.tar(t)
	c, body := oldConfig(t, l)
	docker := func(config string, layers ...string) archived {
		b, err := json.Marshal([]dockerManifest{{config, []string{"x:1"}, layers}})
		require.NoError(t, err)
		return archived{name: "manifest.json", body: string(b)}
	}
	index := func(s string, args ...any) archived {
		return archived{name: "index.json", body: fmt.Sprintf(s, args...)}
	}
	config, good := archived{name: c, body: body}, archived{name: "l.tar", body: string(l)}
	other, otherBody := oldConfig(t, []byte("other"))
	s := openStore(t, t.TempDir())
	for name, list := range map[string][]archived{
		"empty":              {},
		"nothing known":      {good},
		"climbs":             {{name: "../x", body: "x"}, config, good, docker(c, "l.tar")},
		"climbs inside":      {{name: "a/../../x", body: "x"}, config, good, docker(c, "l.tar")},
		"absolute":           {{name: "/etc/x", body: "x"}, config, good, docker(c, "l.tar")},
		"link climbs":        {{name: "l.tar", target: "../../etc/passwd", typ: tar.TypeSymlink}, config, docker(c, "l.tar")},
		"link absolute":      {{name: "l.tar", target: "/etc/passwd", typ: tar.TypeSymlink}, config, docker(c, "l.tar")},
		"hard link climbs":   {{name: "l.tar", target: "../etc/passwd", typ: tar.TypeLink}, config, docker(c, "l.tar")},
		"link to itself":     {{name: "l.tar", target: "l.tar", typ: tar.TypeSymlink}, config, docker(c, "l.tar")},
		"link circle":        {{name: "l.tar", target: "m", typ: tar.TypeSymlink}, {name: "m", target: "l.tar", typ: tar.TypeSymlink}, config, docker(c, "l.tar")},
		"device":             {{name: "dev", typ: tar.TypeChar}, config, good, docker(c, "l.tar")},
		"fifo":               {{name: "l.tar", typ: tar.TypeFifo}, config, docker(c, "l.tar")},
		"member twice":       {good, {name: "l.tar", body: "x"}, config, docker(c, "l.tar")},
		"link over member":   {good, {name: "l.tar", target: "x", typ: tar.TypeSymlink}, config, docker(c, "l.tar")},
		"manifest twice":     {config, good, docker(c, "l.tar"), docker(c)},
		"no config":          {good, docker(c, "l.tar")},
		"no layer":           {config, docker(c, "l.tar")},
		"config's path":      {config, good, docker("../../../etc/passwd", "l.tar")},
		"layer count":        {config, good, docker(c)},
		"wrong diffID":       {{name: other, body: otherBody}, good, docker(other, "l.tar")},
		"bad JSON":           {config, good, {name: "manifest.json", body: "[{"}},
		"bad name":           {config, good, {name: "manifest.json", body: fmt.Sprintf(`[{"Config":%q,"RepoTags":["A B"],"Layers":["l.tar"]}]`, c)}},
		"huge manifest":      {config, good, {name: "manifest.json", body: strings.Repeat(" ", maxManifestJSON+1)}},
		"digest that climbs": {index(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"size":1,"digest":"sha256:../../x"}]}`, ocispec.MediaTypeImageManifest)},
		"missing manifest": {index(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"size":1,"digest":%q}]}`, ocispec.MediaTypeImageManifest,
			digest.FromString("x"))},
		"blob of another digest": {index(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"size":2,"digest":%q}]}`, ocispec.MediaTypeImageManifest,
			digest.FromString("x")), {name: blobName(digest.FromString("x")), body: "{}"}},
		"layer that escapes": escapes(t),
		"much of little":     {config, good, docker(c, "l.tar"), {name: "big", holes: sparseFree + 1<<20}},
	} {
		for _, how := range []string{"plain", ""} {
			_, err := s.Load(t.Context(), bytes.NewReader(compress(t, how, newArchive(t, list...))), nil)
			require.Error(t, err, name)
			if name != "wrong diffID" && name != "layer that escapes" {
				require.ErrorIs(t, err, ErrInvalid, name)
			}
			checkStore(t, s)
			requireEmpty(t, s, "tmp", "leases", "blobs/sha256")
			layers, err := s.layers.List()
			require.NoError(t, err)
			require.Empty(t, layers, name)
		}
	}
	whole := newArchive(t, config, good, docker(c, "l.tar"))
	_, err := s.Load(t.Context(), bytes.NewReader(whole), &LoadOptions{MaxSize: int64(len(l))})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = s.Load(t.Context(), bytes.NewReader(whole), &LoadOptions{Limits: &layer.ExtractOptions{MaxNames: -1}})
	require.ErrorIs(t, err, layer.ErrLimit)
	for n := 0; n < len(whole); n += 700 {
		_, err = s.Load(t.Context(), bytes.NewReader(whole[:n]), nil)
		require.Error(t, err)
	}
	_, err = s.Load(t.Context(), bytes.NewReader([]byte("\xfd7zXZ\x00xxxxxx")), nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	requireEmpty(t, s, "tmp", "leases", "blobs/sha256")
	_, err = s.Load(t.Context(), bytes.NewReader(whole), nil)
	require.NoError(t, err)
}

// escapes is an archive whose layer has a name that leads out of it.
func escapes(t *testing.T) []archived {
	bad := newArchive(t, archived{name: "../../x", body: "x"})
	c, body := oldConfig(t, bad)
	return []archived{{name: c, body: body}, {name: "l.tar", body: string(bad)},
		{name: "manifest.json", body: fmt.Sprintf(`[{"Config":%q,"RepoTags":["x:1"],"Layers":["l.tar"]}]`, c)}}
}

// TestLoadLies: a name in a layout with another digest than its image's is refused, by Load and by Import.
func TestLoadLies(t *testing.T) {
	s, img, _ := pulled(t, testLayer{"a": "1"})
	dir := t.TempDir()
	for name, b := range members(t, mustSave(t, s, &SaveOptions{Format: OCIArchive}, img.ID.String())) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, writeFile(filepath.Join(dir, name), []byte(b)))
	}
	var x ocispec.Index
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &x))
	x.Manifests[0].Annotations = map[string]string{ocispec.AnnotationRefName: "alpine@" + digest.FromString("x").String()}
	b, err = json.Marshal(x)
	require.NoError(t, err)
	require.NoError(t, writeFile(filepath.Join(dir, "index.json"), b))
	into := openStore(t, t.TempDir())
	_, err = into.Import(t.Context(), os.DirFS(dir))
	require.ErrorIs(t, err, ErrInvalid)
	var list []archived
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		list = append(list, archived{name: name, body: string(b)})
		return err
	}))
	_, err = into.Load(t.Context(), bytes.NewReader(newArchive(t, list...)), nil)
	require.ErrorIs(t, err, ErrInvalid)
	requireEmpty(t, into, "tmp", "leases", "blobs/sha256")
}

// TestLoadSwept: what a killed load left is gone after the next Open.
func TestLoadSwept(t *testing.T) {
	testenv.RequireRoot(t)
	dir := t.TempDir()
	s := openStore(t, dir)
	st, err := s.stage(t.Context(), bytes.NewReader(newArchive(t, archived{name: "a", body: "x"})), 1<<20)
	require.NoError(t, err)
	openStore(t, dir)
	require.DirExists(t, st.dir, "it is under way")
	require.NoError(t, st.lock.Close()) // as the kernel does
	b, err := s.newBlob(t.Context())
	require.NoError(t, err)
	require.NoError(t, errors.Join(b.lock.Close(), b.file.Close()))
	openStore(t, dir)
	requireEmpty(t, s, "tmp")
}

// TestSaveSHA512: of an image whose blobs are named by SHA-512 the names are longer than ustar has room for.
func TestSaveSHA512(t *testing.T) {
	testenv.RequireRoot(t)
	l := testLayer{"a": "1"}.tar(t)
	_, config := oldConfig(t, l)
	var list []archived
	add := func(mediaType, body string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.SHA512.FromString(body), Size: int64(len(body))}
		list = append(list, archived{name: blobName(d.Digest), body: body})
		return d
	}
	document := func(v any) string {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: add(ocispec.MediaTypeImageConfig, config),
		Layers: []ocispec.Descriptor{add(ocispec.MediaTypeImageLayer, string(l))}}
	m.SchemaVersion = 2
	root := add(m.MediaType, document(m))
	root.Annotations = map[string]string{ocispec.AnnotationRefName: "app:1"}
	list = append(list, archived{name: "index.json", body: document(ocispec.Index{Manifests: []ocispec.Descriptor{root}})})
	s := openStore(t, t.TempDir())
	_, err := s.Load(t.Context(), bytes.NewReader(newArchive(t, list...)), nil)
	require.NoError(t, err)
	_, err = openStore(t, t.TempDir()).Load(t.Context(), bytes.NewReader(mustSave(t, s, nil, "app:1")), nil)
	require.NoError(t, err)
}
