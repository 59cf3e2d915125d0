package engine

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/testenv"
)

// output runs a command in a new container of an image.
func output(t *testing.T, e *Engine, image string, command ...string) string {
	t.Helper()
	var out bytes.Buffer
	_, err := e.Run(t.Context(), &Config{Image: image, Command: command, AutoRemove: true}, &StartOptions{Stdout: &out, Stderr: &out})
	require.NoError(t, err, out.String())
	return out.String()
}

// TestCommit makes an image of a container, and a container of that: what the first changed is there, and so is how it was
// run. An export holds the same files.
func TestCommit(t *testing.T) {
	e := newEngine(t)
	name := pullBusybox(t, e)
	script := `echo new >/etc/new; rm /etc/group; chmod 750 /home; mkdir /data; echo hidden >/vol/x; touch /tmp/t`
	c, err := e.Run(t.Context(), &Config{
		Image: name, Command: []string{"sh", "-ec", script}, Env: []string{"MINE=1"}, User: "0", Labels: map[string]string{"l": "v"},
		Mounts: []Mount{{Type: "volume", Target: "/vol"}},
	}, nil)
	require.NoError(t, err)
	img, err := e.Commit(t.Context(), c.Name, &CommitOptions{Name: "mine", Author: "me", Changes: []string{"ENV MORE=2"}})
	require.NoError(t, err)
	require.Contains(t, img.Config.Config.Env, "MINE=1")
	require.Contains(t, img.Config.Config.Env, "MORE=2")
	require.Equal(t, "v", img.Config.Config.Labels["l"])
	require.Contains(t, img.Config.Config.Volumes, "/vol")
	require.Equal(t, []string{"sh", "-ec", script}, img.Config.Config.Cmd)
	look := `cat /etc/new; test ! -e /etc/group; stat -c %a /home; ls /vol; echo $MINE$MORE`
	require.Equal(t, "new\n750\n12\n", output(t, e, "mine", "sh", "-ec", look))

	var b bytes.Buffer
	require.NoError(t, e.Export(t.Context(), c.ID, &b))
	found := map[string]int64{}
	for r := tar.NewReader(bytes.NewReader(b.Bytes())); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		found[h.Name] = h.Mode
	}
	require.Contains(t, found, "etc/new")
	require.Contains(t, found, "bin/busybox")
	require.NotContains(t, found, "etc/group")
	require.NotContains(t, found, "vol/x")
	require.Equal(t, int64(0o750), found["home/"])
	flat, err := e.ImportTar(t.Context(), &b, &image.CommitOptions{Name: "flat", Changes: []string{"ENV PATH=/bin"}})
	require.NoError(t, err)
	require.Len(t, flat.Layers, 1)
	require.Equal(t, "new\n750\n\n", output(t, e, "flat", "sh", "-ec", look))

	require.NoError(t, e.Remove(t.Context(), c.ID, &RemoveOptions{Volumes: true}))
}

// TestCommitOfOneNeverStarted has nothing to change.
func TestCommitOfOneNeverStarted(t *testing.T) {
	e := newEngine(t)
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e)})
	require.NoError(t, err)
	img, err := e.Commit(t.Context(), c.ID, nil)
	require.NoError(t, err)
	require.Len(t, img.Layers, 2)
	require.Zero(t, img.Layers[1].Names)
	require.NoError(t, e.Export(t.Context(), c.ID, io.Discard))
	_, err = e.Commit(t.Context(), "nobody", nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, e.Export(t.Context(), "nobody", io.Discard), os.ErrNotExist)
	_, err = e.Commit(t.Context(), c.ID, &CommitOptions{Name: "BAD"})
	require.ErrorIs(t, err, os.ErrInvalid)
	_, err = e.Commit(t.Context(), c.ID, &CommitOptions{Changes: []string{"FROM x"}})
	require.ErrorIs(t, err, os.ErrInvalid)
}

// TestCommitFreezes: a running container does not write while its image is made, and goes on afterwards.
func TestCommitFreezes(t *testing.T) {
	e := newEngine(t)
	c, err := e.Create(t.Context(), &Config{Image: pullBusybox(t, e), Command: []string{"sh", "-c", "while :; do echo x >>/log; done"}})
	require.NoError(t, err)
	r, err := e.Start(t.Context(), c.ID, nil)
	require.NoError(t, err)
	defer func() {
		_ = r.Process().Kill()
		require.Error(t, r.Wait(t.Context()))
	}()
	path := filepath.Join(e.path(c.ID), "upper", "log")
	size := func() int64 {
		fi, err := os.Stat(path)
		if err != nil {
			return -1
		}
		return fi.Size()
	}
	require.Eventually(t, func() bool { return size() > 10 }, time.Minute, time.Millisecond)
	if len(r.Container().State.Cgroups) == 0 {
		testenv.Skip(t, "a freezer")
	}
	thaw, err := freeze(t.Context(), r.Container().State.Cgroups)
	require.NoError(t, err)
	before := size()
	time.Sleep(50 * time.Millisecond)
	require.Equal(t, before, size())
	img, err := e.Commit(t.Context(), c.ID, nil) // which leaves it frozen, as it was
	require.NoError(t, err)
	require.Equal(t, before, size())
	fi, err := os.Stat(filepath.Join(img.Layers[1].Dir, "log"))
	require.NoError(t, err)
	require.Equal(t, before, fi.Size())
	require.NoError(t, thaw())
	require.Eventually(t, func() bool { return size() > before }, time.Minute, time.Millisecond)
	before = size()
	_, err = e.Commit(t.Context(), c.ID, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return size() > before }, time.Minute, time.Millisecond, "it goes on")
}
