package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/volume"
)

// TestVolumeOfImageLeadsOut: an image names as its volume a path, and has links there, that would lead to the host's files.
func TestVolumeOfImageLeadsOut(t *testing.T) {
	e := newEngine(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.Mkdir(secret, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(secret, "key"), []byte("the host's secret"), 0o644))
	up := strings.Repeat("/..", 20)
	config := ocispec.ImageConfig{Cmd: []string{"sh"}, Volumes: map[string]struct{}{
		up + secret: {}, "/link": {}, "/relative": {},
	}}
	img := testimage.New(t, config, append(testimage.Busybox(t),
		testimage.Entry{Name: "link", Link: secret},
		testimage.Entry{Name: "relative", Link: "../../../../../../.." + secret}))
	name := serve(t, e, "hostile", img)
	cfg := Config{Image: name, Command: []string{"sh", "-c", "cat " + secret + "/key /link/key /relative/key"}}
	c, err := e.Create(t.Context(), &cfg)
	require.NoError(t, err)
	var out bytes.Buffer
	run, err := e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	require.Error(t, run.Wait(t.Context()))
	require.Contains(t, out.String(), "No such file")
	require.NotContains(t, out.String(), "the host's secret")
	require.NoError(t, e.Remove(context.Background(), c.ID, nil))

	// Into the host's files by way of proc.
	config.Volumes = map[string]struct{}{"/proc/self/root" + secret: {}}
	name = serve(t, e, "proc", testimage.New(t, config, testimage.Busybox(t)))
	_, err = e.Run(t.Context(), &Config{Image: name, Command: []string{"true"}, AutoRemove: true}, nil)
	require.Error(t, err)
	list, err := e.Volumes().List()
	require.NoError(t, err)
	for _, v := range list {
		require.NoFileExists(t, filepath.Join(v.Path, "key"))
		require.NoError(t, e.RemoveVolume(t.Context(), v.Name))
	}
}

// TestExportWhileLinksAppear: a container exchanges a folder of its volume for a link to the host's files, again and again,
// while the volume is exported.
func TestExportWhileLinksAppear(t *testing.T) {
	e := newEngine(t)
	secret := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secret, "key"), []byte("the host's secret"), 0o644))
	v, err := e.Volumes().Create("raced", nil)
	require.NoError(t, err)
	folder, aside, link := filepath.Join(v.Path, "folder"), filepath.Join(v.Path, "aside"), filepath.Join(v.Path, "link")
	require.NoError(t, os.Mkdir(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "mine"), nil, 0o644))
	require.NoError(t, os.Symlink(secret, link))
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			_ = os.Rename(folder, aside)
			_ = os.Rename(link, folder)
			runtime.Gosched()
			_ = os.Rename(folder, link)
			_ = os.Rename(aside, folder)
		}
	}()
	defer func() { over.Store(true); <-done }()
	whole := 0
	for range 100 {
		var b bytes.Buffer
		err := e.ExportVolume(t.Context(), "raced", &b)
		require.NotContains(t, b.String(), "the host's secret")
		if err == nil { // else what was there was gone, or something else, when its turn came
			whole++
		}
	}
	require.Positive(t, whole)
}

func TestImportVolumeHostile(t *testing.T) {
	e := newEngine(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for name, h := range map[string]tar.Header{
		"dots":     {Name: "../../../../../../../../.." + outside, Typeflag: tar.TypeReg},
		"absolute": {Name: outside, Typeflag: tar.TypeReg},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&h))
		require.NoError(t, w.Close())
		v, err := e.ImportVolume(t.Context(), name, &b, nil)
		require.NoFileExists(t, outside)
		if err == nil {
			require.NoError(t, e.RemoveVolume(t.Context(), v.Name))
		}
	}
	// Cut off: nothing is left.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "file", Size: 1 << 20, Mode: 0o644}))
	_, err := w.Write(make([]byte, 1<<19))
	require.NoError(t, err)
	_, err = e.ImportVolume(t.Context(), "cut", io.LimitReader(&b, 1<<18), nil)
	require.Error(t, err)
	_, err = e.Volumes().Get("cut")
	require.ErrorIs(t, err, volume.ErrNotFound)
	_, err = e.ImportVolume(t.Context(), "a/b", &b, nil)
	var wrong *Error
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, Invalid, wrong.Kind)
}
