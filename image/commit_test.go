package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

func writes(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

func TestCommit(t *testing.T) {
	for _, docker := range []bool{false, true} {
		testenv.RequireRoot(t)
		f, s := newFakeRegistry(t), openStore(t, t.TempDir())
		f.add(t, testImage{layers: []testLayer{{"etc/": "", "etc/a": "1"}}, docker: docker, cmd: []string{"/old"}}, "v1")
		parent, err := Pull(t.Context(), s, f.ref("app:v1"), nil)
		require.NoError(t, err)
		more := testLayer{"etc/": "", "etc/b": "2"}.tar(t)
		made := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
		img, err := s.Commit(t.Context(), writes(more), &CommitOptions{
			Parent: parent, Name: "mine:v2", Author: "me <me@example.com>", Comment: "why", CreatedBy: "sh -c true", Created: made,
			Edit:    func(c *ocispec.ImageConfig) { c.User = "app" },
			Changes: []string{`ENV A=1 B="two words"`, `cmd ["/new","<&>"]`, `HEALTHCHECK --interval=5s CMD true`},
		})
		require.NoError(t, err)
		require.Equal(t, []string{"docker.io/library/mine:v2"}, img.Names)
		require.Equal(t, append(parent.Config.RootFS.DiffIDs, digest.FromBytes(more)), img.Config.RootFS.DiffIDs)
		require.Equal(t, []string{"/new", "<&>"}, img.Config.Config.Cmd)
		require.Equal(t, []string{"A=1", "B=two words"}, img.Config.Config.Env)
		require.Equal(t, "app", img.Config.Config.User)
		require.Equal(t, made, img.Created)
		require.Contains(t, string(img.ConfigJSON), `"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000}`)
		require.Equal(t, []ocispec.History{{
			Created: &made, CreatedBy: "sh -c true", Author: "me <me@example.com>", Comment: "why",
		}}, img.Config.History)
		require.Equal(t, docker, img.manifestType == registry.MediaTypeDockerManifest)
		require.Len(t, img.Layers, 2)
		b, err := os.ReadFile(filepath.Join(img.Layers[1].Dir, "etc/b"))
		require.NoError(t, err)
		require.Equal(t, "2", string(b))
		checkStore(t, s)

		// The same content again, without a name: another image by its time, the same layer.
		again, err := s.Commit(t.Context(), writes(more), &CommitOptions{Parent: img})
		require.NoError(t, err)
		require.Empty(t, again.Names)
		require.Len(t, again.Config.History, 2)
		got, err := s.Get(t.Context(), again.ID.String(), nil)
		require.NoError(t, err)
		require.Equal(t, again.Config, got.Config)
		_, err = s.Remove(t.Context(), again.ID.String(), nil)
		require.NoError(t, err)
		_, err = s.Get(t.Context(), "mine:v2", nil)
		require.NoError(t, err)
	}
}

// TestCommitKeepsUnknown: what a configuration has that is not known here stays.
func TestCommitKeepsUnknown(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	first, err := s.Commit(t.Context(), writes(testLayer{"a": "1"}.tar(t)), nil)
	require.NoError(t, err)
	raw := map[string]any{}
	require.NoError(t, json.Unmarshal(first.ConfigJSON, &raw))
	raw["os.version"], raw["x-own"] = "10", []any{"kept"}
	raw["config"] = map[string]any{"Healthcheck": map[string]any{"Test": []any{"NONE"}}, "Env": []any{"A=1"}, "X": 1.0}
	first.ConfigJSON, err = json.Marshal(raw)
	require.NoError(t, err)
	second, err := s.Commit(t.Context(), writes(testLayer{"b": "1"}.tar(t)), &CommitOptions{Parent: first})
	require.NoError(t, err)
	got := map[string]any{}
	require.NoError(t, json.Unmarshal(second.ConfigJSON, &got))
	for _, key := range []string{"os.version", "x-own", "config"} {
		require.Equal(t, raw[key], got[key])
	}
}

// TestCommitOnNull: a configuration may say null where it has nothing to say.
func TestCommitOnNull(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	first, err := s.Commit(t.Context(), writes(testLayer{"a": "1"}.tar(t)), nil)
	require.NoError(t, err)
	raw := map[string]any{}
	require.NoError(t, json.Unmarshal(first.ConfigJSON, &raw))
	raw["config"] = nil
	first.ConfigJSON, err = json.Marshal(raw)
	require.NoError(t, err)
	second, err := s.Commit(t.Context(), writes(testLayer{"b": "1"}.tar(t)), &CommitOptions{
		Parent: first, Changes: []string{"CMD a", "ONBUILD RUN b"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"/bin/sh", "-c", "a"}, second.Config.Config.Cmd)
}

func TestCommitFails(t *testing.T) {
	s, parent, _ := pulled(t, testLayer{"a": "1"})
	good := testLayer{"b": "2"}.tar(t)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		tar func(io.Writer) error
		o   CommitOptions
		is  error
	}{
		"source":   {func(w io.Writer) error { _, _ = w.Write(good[:700]); return broken }, CommitOptions{}, broken},
		"panics":   {func(io.Writer) error { panic("x") }, CommitOptions{}, nil},
		"no tar":   {writes(bytes.Repeat([]byte("x"), 4096)), CommitOptions{}, nil},
		"no end":   {writes(good[:512]), CommitOptions{}, nil},
		"limit":    {writes(good), CommitOptions{Limits: &layer.ExtractOptions{MaxNames: -1}}, layer.ErrLimit},
		"name":     {writes(good), CommitOptions{Name: "A"}, registry.ErrInvalidReference},
		"digest":   {writes(good), CommitOptions{Name: "a@" + parent.Digest.String()}, registry.ErrInvalidReference},
		"change":   {writes(good), CommitOptions{Changes: []string{"RUN x"}}, ErrInvalid},
		"platform": {writes(good), CommitOptions{Platform: "a/b/c/d"}, nil},
		"windows":  {writes(good), CommitOptions{Platform: "windows/amd64"}, ErrNotImage}, // found out when all is stored
		"gone":     {writes(good), CommitOptions{Parent: &Image{ID: parent.ID, Layers: []layer.Layer{{DiffID: parent.ID}}}}, ErrNotFound},
	} {
		_, err := s.Commit(t.Context(), c.tar, &c.o)
		require.Error(t, err, name)
		if c.is != nil {
			require.ErrorIs(t, err, c.is, name)
		}
		checkStore(t, s)
		for _, dir := range []string{"tmp", "leases"} {
			left, err := os.ReadDir(s.path(dir))
			require.NoError(t, err)
			require.Empty(t, left, "%s: %s", name, dir)
		}
	}
}

func TestImportTar(t *testing.T) {
	testenv.RequireRoot(t)
	plain := testLayer{"etc/": "", "etc/hosts": "1"}.tar(t)
	for _, how := range []string{"plain", "", "zstd"} {
		s := openStore(t, t.TempDir())
		in := compress(t, how, plain)
		img, err := s.ImportTar(t.Context(), bytes.NewReader(in), &CommitOptions{
			Name: "rootfs", Platform: "linux/arm64", Comment: "Imported from -", Changes: []string{"CMD sh"},
		})
		require.NoError(t, err, how)
		require.Equal(t, "linux/arm64", img.Platform())
		require.Equal(t, []digest.Digest{digest.FromBytes(plain)}, img.Config.RootFS.DiffIDs)
		if how != "plain" {
			require.Equal(t, digest.FromBytes(in), img.blobs[0].Digest, "kept as it came")
		}
		checkStore(t, s)
		_, err = s.ImportTar(t.Context(), bytes.NewReader(in[:len(in)/3]), nil)
		require.Error(t, err)
		_, err = s.ImportTar(t.Context(), bytes.NewReader(nil), &CommitOptions{Parent: img})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		checkStore(t, s)
	}
}

func TestChanges(t *testing.T) {
	apply := func(changes ...string) (changing, error) {
		c := changing{raw: rawConfig{}, config: ocispec.ImageConfig{Cmd: []string{"old"}, WorkingDir: "/w", Env: []string{"A=0", "AB=0"}}}
		for _, line := range changes {
			if err := c.apply(line); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	c, err := apply(`ENTRYPOINT ["/e"]`, `WORKDIR sub/../x`, `ENV A one  two`, `LABEL a=1 "b c"='d "e'`, `EXPOSE 80 53/UDP 1-2`,
		`VOLUME ["/a b"]`, `VOLUME /c /d`, `USER 1:2`, `STOPSIGNAL SIGINT`, `ONBUILD RUN a`, `ONBUILD RUN b`, `HEALTHCHECK NONE`)
	require.NoError(t, err)
	require.Equal(t, ocispec.ImageConfig{
		Entrypoint: []string{"/e"}, WorkingDir: "/w/x", Env: []string{"AB=0", "A=one  two"},
		Labels: map[string]string{"a": "1", "b c": `d "e`}, User: "1:2", StopSignal: "SIGINT",
		ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}, "1/tcp": {}, "2/tcp": {}},
		Volumes:      map[string]struct{}{"/a b": {}, "/c": {}, "/d": {}},
	}, c.config)
	require.JSONEq(t, `["RUN a","RUN b"]`, string(c.raw["OnBuild"]))
	require.JSONEq(t, `{"Test":["NONE"]}`, string(c.raw["Healthcheck"]))
	c, err = apply("CMD a b", `entrypoint e "f`)
	require.NoError(t, err)
	require.Equal(t, []string{"/bin/sh", "-c", "a b"}, c.config.Cmd)
	require.Equal(t, []string{"/bin/sh", "-c", `e "f`}, c.config.Entrypoint)
	for _, bad := range []string{"", "RUN x", "ENV", "ENV a", "ENV =b", "ENV a='b", `LABEL a=b c`, "EXPOSE 0", "EXPOSE 70000", "EXPOSE 2-1",
		"EXPOSE 80/icmp", `VOLUME [" "]`, "HEALTHCHECK x", "HEALTHCHECK CMD", "HEALTHCHECK NONE x", "HEALTHCHECK --x=1 CMD a",
		"HEALTHCHECK --interval=1ns CMD a", "HEALTHCHECK --retries=-1 CMD a", "USER a\x00b", `ENV a=\`} {
		_, err := apply(bad)
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
}
