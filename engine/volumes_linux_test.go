package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/volume"
)

// TestVolumeOfImageLeadsOut is CVE-2022-23648: an image names as its volume a path, and has links there, that would lead to the host's
// files, which a new volume would get a copy of: whole, a part of it, in a user namespace or not.
func TestVolumeOfImageLeadsOut(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	e := newEngine(t)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	secret := filepath.Join(t.TempDir(), "secret")
	other := secret + "s"
	for _, dir := range []string{filepath.Join(secret, "part"), secret, other} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), []byte("the host's secret"), 0o644))
	}
	up := strings.Repeat("/..", 20)
	config := ocispec.ImageConfig{Cmd: []string{"sh"}, Volumes: map[string]struct{}{
		up + secret: {}, "/link": {}, "/relative": {}, "/inside/part": {},
	}}
	img := testimage.New(t, config, append(testimage.Busybox(t),
		testimage.Entry{Name: "link", Link: secret},
		testimage.Entry{Name: "relative", Link: "../../../../../../.." + secret},
		testimage.Entry{Name: "inside/"}, testimage.Entry{Name: "inside/part", Link: other}))
	name := serve(t, e, "hostile", img)
	nothing := func(c *Container) {
		t.Helper()
		list, err := e.Volumes().List()
		require.NoError(t, err)
		require.NotEmpty(t, list)
		for _, v := range list {
			content, err := os.ReadDir(v.Path)
			require.NoError(t, err)
			require.Empty(t, content)
		}
		require.NoError(t, e.Remove(context.Background(), c.ID, nil))
		for _, v := range list {
			require.NoError(t, e.RemoveVolume(t.Context(), v.Name))
		}
	}
	mounts := []Mount{{Type: "volume", Source: "named", Target: up + secret}, {Type: "volume", Source: "linked", Target: "/link"}}
	for _, cfg := range []Config{{}, {Isolation: Isolation{UserMode: "auto"}}, {Mounts: mounts}} {
		cfg.Image, cfg.Command = name, []string{"sh", "-c", "cat " + secret + "/key /link/key /link/part/key /relative/key /inside/part/key"}
		c, err := e.Create(t.Context(), &cfg)
		require.NoError(t, err)
		var out bytes.Buffer
		run, err := e.Start(t.Context(), c.ID, &StartOptions{Stdout: &out, Stderr: &out})
		require.NoError(t, err)
		require.Error(t, run.Wait(t.Context()))
		require.Equal(t, 5, strings.Count(out.String(), "No such file"), out.String())
		require.NotContains(t, out.String(), "the host's secret")
		nothing(run.Container())
	}
	// A part of a volume is made of nothing that the image has in its place.
	part := Mount{Type: "volume", Source: "parts", Target: "/link", Subpath: "part"}
	c, err := e.Create(t.Context(), &Config{Image: name, Command: []string{"true"}, Mounts: []Mount{part}})
	require.NoError(t, err)
	_, err = e.Start(t.Context(), c.ID, nil)
	require.ErrorContains(t, err, "part")
	nothing(c)

	// Into the host's files by way of proc.
	config.Volumes = map[string]struct{}{"/proc/self/root" + secret: {}}
	name = serve(t, e, "proc", testimage.New(t, config, testimage.Busybox(t)))
	c, err = e.Run(t.Context(), &Config{Image: name, Command: []string{"true"}}, nil)
	require.Error(t, err)
	nothing(c)
}

// TestExportWhileLinksAppear is CVE-2023-0778: a container exchanges a file, and a folder, of its volume for a link to the host's, again
// and again, while the volume is exported, cloned, and copied out of the container.
func TestExportWhileLinksAppear(t *testing.T) {
	e := newEngine(t)
	secret := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secret, "key"), []byte("the host's secret"), 0o644))
	v, err := e.Volumes().Create("raced", nil)
	require.NoError(t, err)
	for _, kind := range []string{"absolute", "climbing"} {
		to := map[string]string{"absolute": secret, "climbing": strings.Repeat("../", 30) + secret}[kind]
		for _, dir := range []string{kind, kind + "/folder"} {
			require.NoError(t, os.Mkdir(filepath.Join(v.Path, dir), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(v.Path, dir, "key"), []byte("the volume's"), 0o644))
		}
		require.NoError(t, os.Symlink(to+"/key", filepath.Join(v.Path, kind, "other")))
		require.NoError(t, os.Symlink(to, filepath.Join(v.Path, kind, "link")))
	}
	// The others may each be met as a link, whichever way they were turned: their names are read one after the other.
	require.NoError(t, os.WriteFile(filepath.Join(v.Path, "still"), []byte("the volume's"), 0o644))
	_, end := running(t, e, Config{Image: pullBusybox(t, e), Name: "box", Network: "none", Command: []string{"cat"},
		Mounts: []Mount{{Type: "volume", Source: "raced", Target: "/volume"}}})
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			for _, kind := range []string{"absolute", "climbing"} {
				for a, b := range map[string]string{"key": "other", "folder": "link"} {
					_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(v.Path, kind, a), unix.AT_FDCWD, filepath.Join(v.Path, kind, b), unix.RENAME_EXCHANGE)
				}
			}
			runtime.Gosched()
		}
	}()
	defer func() { over.Store(true); <-done }()
	for way, rounds := range map[string]int{"export": 60, "cp": 60, "clone": 20} {
		whole := 0
		if testing.Short() {
			rounds /= 4
		}
		i := 0
		for ; i < rounds || whole == 0 && i < 100*rounds; i++ {
			var b bytes.Buffer
			var err error
			switch way {
			case "export":
				err = e.ExportVolume(t.Context(), "raced", &b)
			case "cp":
				err = e.CopyFrom(t.Context(), "box", "/volume", &b)
			case "clone":
				var copied volume.Volume
				if copied, err = e.CloneVolume(t.Context(), "raced", fmt.Sprint("copy", i), nil); err == nil {
					require.NoError(t, e.ExportVolume(t.Context(), copied.Name, &b))
					require.NoError(t, e.RemoveVolume(t.Context(), copied.Name))
				}
			}
			require.NotContains(t, b.String(), "the host's secret", way)
			if err == nil { // else what was there was something else when its turn came
				whole++
				require.Contains(t, b.String(), "the volume's", way)
			}
		}
		t.Logf("%s: %d of %d whole", way, whole, i)
		require.Positive(t, whole, way)
	}
	end()
}

// TestImportVolumeHostile: no entry of an archive, nor several together, make anything outside of the volume.
func TestImportVolumeHostile(t *testing.T) {
	e := newEngine(t)
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	link := func(to string) tar.Header { return tar.Header{Name: "link", Linkname: to, Typeflag: tar.TypeSymlink} }
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	up := strings.Repeat("../", 30)
	for name, headers := range map[string][]tar.Header{
		"dots":     {file(up + outside)},
		"absolute": {file(outside)},
		"link":     {link(dir), file("link/outside")},
		"climbing": {link(up + dir), file("link/outside")},
		"over":     {link(outside), file("link")},
		"hard":     {link(outside), {Name: "hard", Linkname: "link/../link", Typeflag: tar.TypeLink}, file("hard")},
		"folder":   {link(dir), {Name: "link/", Typeflag: tar.TypeDir, Mode: 0o700}, file("link/outside")},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range headers {
			require.NoError(t, w.WriteHeader(&headers[i]))
		}
		require.NoError(t, w.Close())
		v, err := e.ImportVolume(t.Context(), name, &b, nil)
		require.NoFileExists(t, outside, name)
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
