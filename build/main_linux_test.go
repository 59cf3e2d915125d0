package build

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/namespace"
)

func TestMain(m *testing.M) {
	testenv.Lazy("guardian", func() error {
		w := &namespace.Ward{}
		if err := w.Register(); err != nil {
			return err
		}
		return w.Release()
	})
	testenv.Lazy("control groups, template namespace", func() error {
		dir, err := os.MkdirTemp("", "warm-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		_ = container.New(namespace.Dir(dir), "/nothing").Run(context.Background())
		return nil
	})
	testenv.Main(m, map[string]testenv.Program{"build-forever": buildForever})
}

// newEngine opens an engine that has the image base: busybox, which says that PATH is /bin.
func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	return newEngineIn(t, testenv.NewNetns(t))
}

func newEngineIn(t *testing.T, netns string) *engine.Engine {
	t.Helper()
	testenv.RequireRoot(t)
	e, err := engine.Open(t.Context(), filepath.Join(t.TempDir(), "root"), &engine.Options{
		NetworkNamespace: netns, CgroupParent: testenv.CgroupName(t),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, e.ImageStore().Check(context.Background(), &image.CheckOptions{Unreferenced: true}))
		list, err := e.List(context.Background())
		require.NoError(t, err)
		for _, c := range list {
			t.Errorf("container %s is left: %+v %v", c.ID, c.State, c.Labels)
		}
		require.NoError(t, e.Close())
	})
	img := testimage.New(t, ocispec.ImageConfig{}, testimage.Busybox(t))
	_, err = e.ImportTar(t.Context(), bytes.NewReader(img.Blobs[1].Content), &image.CommitOptions{
		Name: "base", Changes: []string{"ENV PATH=/bin", `CMD ["sh"]`},
	})
	require.NoError(t, err)
	return e
}

// A file of a context's stream; a folder if its name ends in a slash, a link if it has one.
type file struct {
	name, content, link string
	mode                int64
	typ                 byte
}

// stream is a context.
func stream(t *testing.T, files ...file) *Context {
	t.Helper()
	return Tar(bytes.NewReader(tarOf(t, files...)))
}

func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		switch {
		case f.typ != 0:
			h.Typeflag = f.typ
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		case f.name[len(f.name)-1] == '/':
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if f.mode != 0 {
			h.Mode = f.mode
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := io.WriteString(w, f.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// inside runs a shell command in a container of an image, and returns what it prints.
func inside(t *testing.T, e *engine.Engine, ref, script string) string {
	t.Helper()
	var out bytes.Buffer
	_, err := e.Run(t.Context(), &engine.Config{
		Image: ref, Entrypoint: []string{"/bin/sh", "-ec"}, Command: []string{script}, AutoRemove: true, Network: "none", User: "0",
	}, &engine.StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	return out.String()
}
