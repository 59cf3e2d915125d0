package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
)

// paths lists all that is below the folders.
func paths(t *testing.T, dirs ...string) (all []string) {
	t.Helper()
	for _, dir := range dirs {
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		}))
	}
	return all
}

// TestExplainUserMode: in a user namespace of its own the layers are mounted as its own, and binds are mapped.
func TestExplainUserMode(t *testing.T) {
	testenv.RequireKernel(t, 5, 19)
	e := newEngine(t)
	image := pullBusybox(t, e)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	before := paths(t, e.dir)
	listing, err := e.Explain(t.Context(), &Config{Image: image, Isolation: Isolation{UserMode: "auto"}, Command: []string{"true"},
		Mounts: []Mount{{Type: "bind", Source: t.TempDir(), Target: "/bind"}}})
	require.NoError(t, err)
	require.Regexp(t, `<overlay of [^<>,]*>`, listing)
	require.NotRegexp(t, `<overlay of [^<>]*, idmapped>`, listing)
	require.Regexp(t, `<[^<>]*, idmapped>`, listing)
	require.Contains(t, listing, "unshare(CLONE_NEWUSER)")
	require.Equal(t, before, paths(t, e.dir))
}

// TestExplainRefused: what a run refuses is refused, layers that a kernel cannot show as another's among it.
func TestExplainRefused(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 19)
	testenv.ReapOrphans(t)
	if !testenv.OnOlderKernel(t, testenv.DeniedCalls(unix.SYS_MOUNT_SETATTR)) {
		return
	}
	e := newEngine(t)
	image := pullBusybox(t, e)
	testenv.GrantSubordinateIDs(t, "caisson", 700000)
	cfg := &Config{Image: image, Isolation: Isolation{UserMode: "auto"}, Command: []string{"true"}}
	_, err := e.Run(t.Context(), cfg, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = e.Explain(t.Context(), cfg)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestExplainChangesNothing: what a run would make is shown, and only shown.
func TestExplainChangesNothing(t *testing.T) {
	e := newEngine(t)
	// The second layer implies a folder to which the first gives a mode: a mount of both makes something and keeps it.
	image := serve(t, e, "app", testimage.New(t, ocispec.ImageConfig{
		Cmd: []string{"sh"}, WorkingDir: "/made", Volumes: map[string]struct{}{"/image": {}},
	}, testimage.Busybox(t), testimage.Layer{{Name: "tmp/x", Content: []byte("x")}}))
	_, err := e.Volumes().Create("there", nil)
	require.NoError(t, err)
	_, err = e.Create(t.Context(), &Config{Image: image, Name: "taken", Command: []string{"true"}})
	require.NoError(t, err)
	host := t.TempDir()
	config := Config{Image: image, Name: "free", User: "app", Mounts: []Mount{
		{Type: "bind", Source: host + "/missing", Target: "/b", MakeSource: true},
		{Type: "volume", Source: "named", Target: "/n"}, {Type: "volume", Source: "there", Target: "/t"},
	}}
	before := paths(t, e.dir, host)
	listing, err := e.Explain(t.Context(), &config)
	require.NoError(t, err)
	require.Equal(t, before, paths(t, e.dir, host))

	intent, program, ok := strings.Cut(listing, "\tprctl(")
	require.True(t, ok)
	require.Contains(t, intent, "# make the folder "+host+"/missing\n")
	require.Contains(t, intent, "# make the volume named\n")
	require.Contains(t, intent, "# make the folder /made in the container\n")
	require.Regexp(t, `(?m)^# make the volume [0-9a-f]{64}$`, intent)
	require.NotContains(t, intent, "there")
	for _, part := range []string{host + "/missing", "volumes/named/data", "volumes/there/data", `execve("/bin/sh"`, "setresuid(1000, 1000, 1000)"} {
		require.True(t, strings.Contains(program, part), part)
	}
	require.True(t, regexp.MustCompile(`containers/[0-9a-f]{64}/hosts`).MatchString(program))
	require.False(t, strings.Contains(program, filepath.Join(e.dir, "tmp")))
	require.True(t, strings.Contains(program, `"hosts", 0100644`), "it is bound as a file")

	config.Mounts[0].MakeSource = false
	_, err = e.Explain(t.Context(), &config)
	require.ErrorIs(t, err, fs.ErrInvalid)
	config.Mounts, config.Name = nil, "taken"
	_, err = e.Explain(t.Context(), &config)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, before, paths(t, e.dir, host))
	_, err = os.Stat(host + "/missing")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
