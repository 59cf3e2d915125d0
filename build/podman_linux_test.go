package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPodman builds the same Dockerfile by podman, and compares the configurations, and the files by name, kind, mode, owner and content.
func TestPodman(t *testing.T) {
	e := newEngine(t)
	testenv.RequireCommand(t, "podman")
	const dockerfile = `ARG tag=latest
FROM localhost/base:$tag AS one
ENV a=1 b="2 3"
RUN mkdir -p /t/made && echo $b >/t/made/f && chmod 640 /t/made/f
FROM localhost/base:latest
LABEL l=m "n o"='p q'
ARG v=5
ENV w=$v x=${none:-y}
WORKDIR /t
WORKDIR w
COPY a .
COPY a dir/
COPY d /t/d
COPY --chown=app:staff d /t/e/
COPY d/sub/? l /t/f/
COPY --from=one /t/made /t/g
ADD a.tar /t/h
RUN ln -s w /t/link && rm /t/f/c
COPY a /t/link/z
EXPOSE 80 53/udp
VOLUME /vol
STOPSIGNAL SIGINT
USER app
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "true"]
`
	dir := t.TempDir()
	run, err := os.MkdirTemp("/dev/shm", "podman-") // podman wants a short path, and syncs what it writes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(run)) })
	files := map[string]string{
		"Dockerfile": dockerfile, "a": "A", "d/b": "B", "d/sub/c": "C", "d/sub/no": "N", ".dockerignore": "**/no\n",
		"a.tar": string(tarOf(t, file{name: "in/"}, file{name: "in/t", content: "T"}, file{name: "in/l", link: "t"})),
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		require.NoError(t, os.Chmod(name, 0o644))
	}
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "l")))
	podman := func(args ...string) {
		t.Helper()
		c := exec.Command("podman", append([]string{"--root", run + "/root", "--runroot", run + "/run", "--storage-driver", "vfs"}, args...)...)
		c.Env = append(os.Environ(), "TMPDIR="+run, "XDG_CONFIG_HOME="+run)
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	base, theirs := filepath.Join(run, "base.tar"), filepath.Join(run, "theirs.tar")
	var saved bytes.Buffer
	require.NoError(t, e.Tag(t.Context(), "base", "localhost/base"))
	require.NoError(t, e.Save(t.Context(), &saved, []string{"localhost/base:latest"}, nil))
	require.NoError(t, os.WriteFile(base, saved.Bytes(), 0o600))
	podman("load", "-q", "-i", base)
	podman("build", "-q", "--layers=false", "--isolation", "chroot", "--network", "host", "-t", "localhost/theirs", dir)
	podman("save", "-q", "-o", theirs, "localhost/theirs")
	f, err := os.Open(theirs)
	require.NoError(t, err)
	defer f.Close()
	_, err = e.Load(t.Context(), f, nil)
	require.NoError(t, err)

	ours, _ := must(t, e, Dir(dir), dockerfile, nil)
	img, err := e.Image(t.Context(), "localhost/theirs")
	require.NoError(t, err)
	want := img.Config.Config
	delete(want.Labels, "io.buildah.version")
	require.Equal(t, want, ours.Config.Config)
	const list = `for f in $(busybox find /t | sort); do stat -c "%n %F %a %u:%g %s" $f; test ! -f $f || cat $f; done`
	require.Equal(t, inside(t, e, img.ID.String(), list), inside(t, e, ours.ID.String(), list))
}
