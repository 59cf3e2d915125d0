package image

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// TestFlatten: one layer shows what all do, deleted files are not in it, and the configuration stays.
func TestFlatten(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "tar")
	for _, docker := range []bool{false, true} {
		f, s := newFakeRegistry(t), openStore(t, t.TempDir())
		f.add(t, testImage{docker: docker, cmd: []string{"/x"}, layers: []testLayer{
			{"secret": "deleted above", "d/a": "1", "d/b": "1", "o/hidden": "1"}, {".wh.secret": "", "d/b": "2", "o/": "", "o/.wh..wh..opq": "", "o/c": "3"}, {"e/": ""},
		}, mangle: func(_ *ocispec.Manifest, c *ocispec.Image) {
			if c != nil {
				c.History = []ocispec.History{{CreatedBy: "one"}, {CreatedBy: "two"}, {CreatedBy: "three"}}
			}
		}}, "many")
		parent, err := Pull(t.Context(), s, f.ref("app:many"), nil)
		require.NoError(t, err)
		flat, err := s.Flatten(t.Context(), &CommitOptions{Parent: parent, Name: "flat", Comment: "why", Changes: []string{"LABEL a=b"}})
		require.NoError(t, err)
		require.Len(t, flat.Layers, 1)
		require.Len(t, flat.Config.RootFS.DiffIDs, 1)
		require.Equal(t, tarList(t, parent.Layers), tarList(t, flat.Layers))
		require.Contains(t, tarList(t, flat.Layers), "./o/c")
		require.NotContains(t, tarList(t, flat.Layers), "secret")
		require.NotContains(t, tarOf(t, s, flat), "deleted above")
		require.Equal(t, []string{"/x"}, flat.Config.Config.Cmd)
		require.Equal(t, "b", flat.Config.Config.Labels["a"])
		require.Equal(t, docker, flat.manifestType == registry.MediaTypeDockerManifest)
		history := flat.Config.History
		require.Len(t, history, 4)
		require.Equal(t, "why", history[3].Comment)
		for n, h := range history {
			require.Equal(t, n < 3, h.EmptyLayer)
		}
		again, err := s.Get(t.Context(), "flat", nil)
		require.NoError(t, err)
		require.Equal(t, flat.ID, again.ID)
		old, err := s.Get(t.Context(), f.ref("app:many"), nil)
		require.NoError(t, err)
		require.Equal(t, parent.ConfigJSON, old.ConfigJSON)
		checkStore(t, s)
	}
}

// tarList is what GNU tar lists of a mount of layers.
func tarList(t *testing.T, layers []layer.Layer) string {
	t.Helper()
	at := t.TempDir()
	root, err := layer.Mount(t.Context(), layers, &layer.MountOptions{ReadOnly: true, Target: at})
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	out, err := exec.Command("sh", "-c", `tar -C "$1" --sort=name --numeric-owner --xattrs -cf - . | tar --full-time --numeric-owner -tvf -`, "-", at).Output()
	require.NoError(t, err)
	return strings.Join(strings.Fields(string(out)), " ")
}

// tarOf is the layer's tar stream.
func tarOf(t *testing.T, s *Store, i *Image) string {
	t.Helper()
	f, err := s.OpenBlob(i.blobs[0].Digest)
	require.NoError(t, err)
	defer f.Close()
	cmd := exec.Command("gzip", "-dc")
	cmd.Stdin = f
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

// TestFlattenFails: nothing stays.
func TestFlattenFails(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	parent, err := s.Commit(t.Context(), writes(testLayer{"a": "1"}.tar(t)), &CommitOptions{Name: "parent"})
	require.NoError(t, err)
	before := searched(t, s)
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    *CommitOptions
		want error
	}{
		"no parent":  {t.Context(), nil, nil},
		"bad name":   {t.Context(), &CommitOptions{Parent: parent, Name: "A B"}, registry.ErrInvalidReference},
		"bad change": {t.Context(), &CommitOptions{Parent: parent, Changes: []string{"FROM x"}}, ErrInvalid},
		"over":       {t.Context(), &CommitOptions{Parent: parent, Limits: &layer.ExtractOptions{MaxNames: 1}}, layer.ErrLimit},
		"ended":      {ended, &CommitOptions{Parent: parent}, context.Canceled},
		"no layers":  {t.Context(), &CommitOptions{Parent: &Image{ID: parent.ID, Manifest: parent.Manifest, target: parent.target}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Flatten(c.ctx, c.o)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.Equal(t, before, searched(t, s))
			left, err := filepath.Glob(filepath.Join(s.Layers().Dir(), "tmp", "*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
