package build

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// brokenFS has a file that cannot be read.
type brokenFS struct{ fs.FS }

var errBroken = errors.New("broken")

func (f brokenFS) Open(name string) (fs.File, error) {
	if name == "broken" {
		return nil, errBroken
	}
	return f.FS.Open(name)
}

func TestFS(t *testing.T) {
	e := newEngine(t)
	files := fstest.MapFS{
		"Dockerfile":    {Data: []byte("FROM base\nCOPY . /x\n"), Mode: 0o644},
		".dockerignore": {Data: []byte("secret\n")},
		"secret":        {Data: []byte("S")},
		"dir/script":    {Data: []byte("A"), Mode: 0o755},
		"link":          {Data: []byte("dir/script"), Mode: 0o777 | fs.ModeSymlink},
	}
	o := &Options{Tags: []string{"of-fs:1", "of-fs:2"}}
	o.Container.Network = "none"
	img, err := Build(t.Context(), e, FS(files), o)
	require.NoError(t, err)
	require.Equal(t, []string{"docker.io/library/of-fs:1", "docker.io/library/of-fs:2"}, img.Names)
	require.Equal(t, "A1970\nDockerfile\ndir\nlink\n",
		inside(t, e, img.ID.String(), "cat /x/link; stat -c %y /x/dir/script | cut -d- -f1; test -x /x/dir/script; ls /x/"))

	files["broken"] = &fstest.MapFile{}
	_, err = Build(t.Context(), e, FS(brokenFS{files}), o)
	require.ErrorIs(t, err, errBroken)
	o.MaxContext = 5
	delete(files, "broken")
	_, err = Build(t.Context(), e, FS(files), o)
	require.ErrorIs(t, err, errTooLarge)
}
