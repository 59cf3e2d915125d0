package engine

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

func TestMergeArgs(t *testing.T) {
	image := &ocispec.ImageConfig{Entrypoint: []string{"entry"}, Cmd: []string{"cmd"}}
	for name, test := range map[string]struct {
		config Config
		image  *ocispec.ImageConfig
		want   []string
	}{
		"image's":         {Config{}, image, []string{"entry", "cmd"}},
		"command":         {Config{Command: []string{"a", "b"}}, image, []string{"entry", "a", "b"}},
		"entrypoint":      {Config{Entrypoint: []string{"e"}}, image, []string{"e"}},
		"both":            {Config{Entrypoint: []string{"e"}, Command: []string{"a"}}, image, []string{"e", "a"}},
		"none":            {Config{Entrypoint: []string{""}, Command: []string{"a"}}, image, []string{"a"}},
		"none at all":     {Config{Entrypoint: []string{""}}, image, nil},
		"bare image":      {Config{}, &ocispec.ImageConfig{}, nil},
		"empty command":   {Config{Command: []string{""}}, &ocispec.ImageConfig{}, nil},
		"cmd of an image": {Config{}, &ocispec.ImageConfig{Cmd: []string{"cmd"}}, []string{"cmd"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Container{Config: test.config}
			err := c.merge(test.image)
			if test.want == nil {
				require.ErrorIs(t, err, fs.ErrInvalid)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, c.Args)
		})
	}
}

func TestMergeRest(t *testing.T) {
	image := &ocispec.ImageConfig{
		Cmd: []string{"x"}, Env: []string{"PATH=/bin", "A=1", "B=2", "GONE=x", "BARE"}, User: "app", WorkingDir: "/w/../v", StopSignal: "RTMIN+3",
		Labels: map[string]string{"a": "image", "b": "image"},
	}
	c := &Container{Hostname: "h", Config: Config{
		Env: []string{"B=3", "C=", "GONE"}, TTY: true, Labels: map[string]string{"b": "config"},
	}}
	require.NoError(t, c.merge(image))
	require.Equal(t, []string{"PATH=/bin", "HOSTNAME=h", "TERM=xterm", "A=1", "B=3", "C="}, c.Env)
	require.Equal(t, "app", c.User)
	require.Equal(t, "/v", c.Dir)
	require.Equal(t, 37, c.StopSignal)
	require.Equal(t, map[string]string{"a": "image", "b": "config"}, c.Labels)
	require.Equal(t, "image", image.Labels["b"], "the image's own map stays as it is")

	for _, config := range []Config{{Dir: "relative"}, {StopSignal: "NOPE"}, {Env: []string{"=x"}}} {
		require.ErrorIs(t, (&Container{Config: config}).merge(image), fs.ErrInvalid)
	}
}

func TestMergeMounts(t *testing.T) {
	c := &Container{Config: Config{Mounts: []Mount{{Type: "volume", Source: "mine", Target: "/data/"}}}}
	require.NoError(t, c.mergeMounts(nil, map[string]struct{}{"/data": {}, "/more": {}}))
	require.Len(t, c.Mounts, 2)
	require.Equal(t, Mount{Type: "volume", Source: "mine", Target: "/data"}, c.Mounts[0])
	require.Equal(t, "/more", c.Mounts[1].Target)
	require.Equal(t, []string{c.Mounts[1].Source}, c.AnonymousVolumes)

	for _, hostile := range []string{"relative", "/", "/..", ""} {
		require.Error(t, (&Container{}).mergeMounts(nil, map[string]struct{}{hostile: {}}), hostile)
	}
}

func TestParseVolume(t *testing.T) {
	for spec, want := range map[string]Mount{
		"/a":            {Type: "volume", Target: "/a"},
		"name:/a":       {Type: "volume", Source: "name", Target: "/a"},
		"/b/:/a":        {Type: "bind", Source: "/b", Target: "/a", MakeSource: true},
		"/b:/a:ro":      {Type: "bind", Source: "/b", Target: "/a", MakeSource: true, ReadOnly: true},
		"n:/a:nocopy":   {Type: "volume", Source: "n", Target: "/a", NoCopy: true},
		"/b:/a:cached":  {Type: "bind", Source: "/b", Target: "/a", MakeSource: true},
		"n:/a:rw":       {Type: "volume", Source: "n", Target: "/a"},
		"n:/a:ro,rw":    {Type: "volume", Source: "n", Target: "/a", ReadOnly: true},
		"a.b_c-d:/a:ro": {Type: "volume", Source: "a.b_c-d", Target: "/a", ReadOnly: true},
	} {
		got, err := ParseVolume(spec)
		require.NoError(t, err, spec)
		require.Equal(t, want, got, spec)
	}
	here, err := filepath.Abs("x")
	require.NoError(t, err)
	got, err := ParseVolume("./x:/a")
	require.NoError(t, err)
	require.Equal(t, Mount{Type: "bind", Source: here, Target: "/a", MakeSource: true}, got)
	for _, spec := range []string{
		"", "a", ":/a", "a/b:/c", ".a/b:/c", "/a:b", "/a:/", "a:/b:c", "a:/b:ro:x", "/a:/b:nocopy", "a:/b:",
	} {
		_, err := ParseVolume(spec)
		require.ErrorIs(t, err, fs.ErrInvalid, spec)
	}
}

// TestRelabelling: the files of a bind and a volume get the container's context where that is asked for, and there is one; those of the host's
// own folders never.
func TestRelabelling(t *testing.T) {
	for _, option := range []string{"z", "Z"} {
		m, err := ParseVolume("/b:/a:ro," + option)
		require.NoError(t, err)
		require.Equal(t, option, m.Relabel)
		r := &Run{record: &Container{Mounts: []Mount{{Type: "bind", Source: "/etc", Relabel: option}}}}
		require.NoError(t, r.relabel(t.Context()), "without SELinux")
		r.record.Config.MountLabel = "system_u:object_r:container_file_t:s0:c1,c2"
		err = r.relabel(t.Context())
		if runtime.GOOS == "linux" {
			require.ErrorIs(t, err, fs.ErrPermission)
			require.ErrorContains(t, err, "relabeling of /etc is not allowed")
		}
	}
	for message, m := range map[string]Mount{
		"takes no mode z": {Type: "tmpfs", Target: "/a", Relabel: "z"}, "invalid mode for SELinux: y": {Type: "bind", Source: "/b", Target: "/a", Relabel: "y"},
	} {
		require.ErrorContains(t, m.check(), message)
	}
}

func TestParseMount(t *testing.T) {
	for spec, want := range map[string]Mount{
		"target=/a":                                                  {Type: "volume", Target: "/a"},
		"type=bind,src=/b,dst=/a,ro":                                 {Type: "bind", Source: "/b", Target: "/a", ReadOnly: true},
		"type=bind,source=/b,target=/a,readonly=0":                   {Type: "bind", Source: "/b", Target: "/a"},
		"type=tmpfs,dst=/a,tmpfs-size=1k":                            {Type: "tmpfs", Target: "/a", Options: "size=1024"},
		"type=tmpfs,dst=/a,tmpfs-mode=1777":                          {Type: "tmpfs", Target: "/a", Options: "mode=1777"},
		`type=bind,"src=/with,comma",dst=/a`:                         {Type: "bind", Source: "/with,comma", Target: "/a"},
		"type=volume,src=v,dst=/a,volume-nocopy=true":                {Type: "volume", Source: "v", Target: "/a", NoCopy: true},
		"type=bind,src=/b,dst=/a,bind-create-src,consistency=cached": {Type: "bind", Source: "/b", Target: "/a", MakeSource: true},
		`src=v,dst=/a,volume-driver=local,volume-label=a=b,volume-label=c,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,mode=700"`: {
			Type: "volume", Source: "v", Target: "/a", Create: &volume.CreateOptions{
				Labels: map[string]string{"a": "b", "c": ""}, Mount: &volume.Mount{Type: "tmpfs", Device: "tmpfs", Options: "size=1m,mode=700"},
				Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=700"},
			},
		},
	} {
		got, err := ParseMount(spec)
		require.NoError(t, err, spec)
		require.Equal(t, want, got, spec)
	}
	for _, spec := range []string{
		"", "type=bind,dst=/a", "type=tmpfs,src=/b,dst=/a", "type=npipe,dst=/a", "dst=/a,ro=perhaps", "type=bind,src=b,dst=/a",
		"type=tmpfs,dst=/a,tmpfs-size=lots", "type=tmpfs,dst=/a,tmpfs-mode=99", "dst=/a,bind-propagation=shared", `"`,
		"dst=/a,consistency=x", "type=bind,src=/b,dst=/a,volume-label=a", "dst=/a,volume-opt=size=x", "dst=/a,volume-opt=nosuch=1", "dst=/a,bind-create-src",
		"type=bind,src=/b,dst=/a,ro,bind-recursive=readonly,bind-propagation=rshared", "dst=/a,bind-create-src=perhaps",
	} {
		_, err := ParseMount(spec)
		require.ErrorIs(t, err, fs.ErrInvalid, spec)
	}
}

func TestParseUlimitAndSignal(t *testing.T) {
	u, err := ParseUlimit("nofile=1024:-1")
	require.NoError(t, err)
	require.Equal(t, Ulimit{"nofile", 1024, -1}, u)
	for _, spec := range []string{
		"", "nofile", "=1", "nofile=", "nofile=2:1", "nofile=-1:5", "nofile=-2", "nofile=1:2:3", "nofile=x",
	} {
		_, err := ParseUlimit(spec)
		require.ErrorIs(t, err, fs.ErrInvalid, spec)
	}
	for s, want := range map[string]int{"SIGTERM": 15, "term": 15, "9": 9, "RTMIN": 34, "SIGRTMIN+1": 35, "RTMAX-1": 63} {
		n, err := ParseSignal(s)
		require.NoError(t, err)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "0", "65", "-1", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX+1"} {
		_, err := ParseSignal(s)
		require.ErrorIs(t, err, fs.ErrInvalid, s)
	}
}

func TestKinds(t *testing.T) {
	require.ErrorIs(t, notFound("x"), fs.ErrNotExist)
	require.ErrorIs(t, conflict("x"), fs.ErrExist)
	require.False(t, errors.Is(invalid("x"), fs.ErrExist))
	require.Equal(t, 125, ExitCode(invalid("x")))
	require.Equal(t, 0, ExitCode(nil))
	for want, err := range map[int]error{
		0: nil, 126: &container.StartError{Step: "look up user", Err: namespace.ErrNoUser}, 127: &container.StartError{Step: "chdir", Err: syscall.ENOENT},
		137: &container.ExitError{State: &container.State{Signal: 9}},
	} {
		require.Equal(t, want, ExecExitCode(err), "%v", err)
	}
}

func FuzzParseMounts(f *testing.F) {
	for _, s := range []string{"/a", "a:/b:ro", "type=bind,src=/a,dst=/b", "/t:size=1m,exec", "nofile=1:2", "RTMIN+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (Mount, error){ParseVolume, ParseMount, ParseTmpfs} {
			m, err := parse(s)
			if err != nil {
				continue
			}
			require.NoError(t, m.check())
			require.Equal(t, byte('/'), m.Target[0])
			if m.Type == "bind" {
				require.Equal(t, byte('/'), m.Source[0])
			}
		}
		if u, err := ParseUlimit(s); err == nil && u.Hard >= 0 {
			require.LessOrEqual(t, u.Soft, u.Hard)
		}
		if n, err := ParseSignal(s); err == nil {
			require.True(t, n >= 1 && n <= 64)
		}
	})
}
