package namespace

import (
	"os"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/kernel"
	"github.com/stretchr/testify/require"
)

// TestCgroupMountsBelow: hierarchies are mounted from inside the tmpfs that was mounted for them, unless something else may
// be mounted over it.
func TestCgroupMountsBelow(t *testing.T) {
	cgroup := func(name string) Mount {
		return Mount{Type: "cgroup", Target: "/sys/fs/cgroup/" + name, Data: name, Flags: NoSuid | NoDev | NoExec}
	}
	tmpfs := Mount{Type: "tmpfs", Target: "/sys/fs/cgroup/", Data: "mode=755"}
	folder := Mount{Type: "bind", Source: "/srv", Target: "/sys/fs/cgroup"}
	above := Mount{Type: "bind", Source: "/srv", Target: "/sys/fs"}
	beside := Mount{Type: "tmpfs", Target: "/sys/fs/cgroups"}
	for name, test := range map[string]struct {
		mounts []Mount
		below  bool
	}{
		"right below":         {[]Mount{tmpfs, cgroup("cpu"), cgroup("memory")}, true},
		"others between":      {[]Mount{tmpfs, beside, cgroup("cpu"), cgroup("memory")}, true},
		"no tmpfs":            {[]Mount{beside, cgroup("cpu"), cgroup("memory")}, false},
		"a bind":              {[]Mount{folder, cgroup("cpu"), cgroup("memory")}, false},
		"a bind over it":      {[]Mount{tmpfs, folder, cgroup("cpu"), cgroup("memory")}, false},
		"one over a folder":   {[]Mount{tmpfs, above, cgroup("cpu"), cgroup("memory")}, false},
		"a copy":              {[]Mount{{Type: "tmpfs", Target: "/sys/fs/cgroup", CopyUp: true}, cgroup("cpu"), cgroup("memory")}, false},
		"a tmpfs over a bind": {[]Mount{folder, tmpfs, cgroup("cpu"), cgroup("memory")}, true},
	} {
		l := defaultLaunch(Dir("/srv/rootfs"), "true")
		l.Mounts = append(l.Mounts, test.mounts...)
		p, err := l.Program()
		require.NoError(t, err, name)
		require.Equal(t, !test.below, strings.Contains(p.String(), `"/sys/fs/cgroup/cpu", {`), "%s\n%s", name, p)
	}
}

// TestCgroupPaths: the process joins when its gate was opened once, and executes when it was once more.
func TestCgroupPathsCheck(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	for _, change := range []func(*Launch){
		func(l *Launch) { l.Gate = nil },
		func(l *Launch) { l.Keep = &Keep{} },
		func(l *Launch) { l.CgroupPaths[0] = "tasks" },
		func(l *Launch) { l.CgroupPaths[0] = "/a\x00" },
	} {
		l := defaultLaunch(Dir("/srv/rootfs"), "true")
		l.Gate, l.CgroupPaths = r, []string{"/sys/fs/cgroup/cpu/a/tasks"}
		_, err := l.Program()
		require.NoError(t, err)
		change(l)
		_, err = l.Program()
		require.ErrorContains(t, err, "CgroupPaths")
	}
}

// TestWardForeseen: it takes a group beside one that is known.
func TestWardForeseen(t *testing.T) {
	dir := t.TempDir()
	w := &Ward{Folders: []string{dir + "/a"}}
	require.False(t, w.Foreseen())
	require.Equal(t, controlFiles{}, groupFiles(dir+"/a"))
	require.False(t, w.Foreseen(), "it is not there")
	require.NoError(t, os.Mkdir(dir+"/a", 0o700))
	require.NoError(t, os.WriteFile(dir+"/a/cgroup.kill", nil, 0o600))
	require.Equal(t, controlFiles{kill: true}, groupFiles(dir+"/a"))
	w.Folders = []string{dir + "/b"}
	require.True(t, w.Foreseen())
	require.Equal(t, controlFiles{kill: true}, groupFiles(dir+"/b"))
}

// TestCgroupMountsCloned: a control group whose folder is told is bound from there while the host's mounts are in reach, if
// the process is in a cgroup namespace of its own: else it would see less than its mount of the file system shows.
func TestCgroupMountsCloned(t *testing.T) {
	if err := kernel.MountSetattr.Err(); err != nil {
		t.Skip(err)
	}
	const folder = "/sys/fs/cgroup/cpu/a"
	for name, test := range map[string]struct {
		change func(*Launch)
		cloned bool
	}{
		"new":          {func(*Launch) {}, true},
		"host's":       {func(l *Launch) { l.Namespaces.Cgroup.Host = true }, false},
		"a user's":     {func(l *Launch) { l.UIDMappings, l.GIDMappings = testMaps, testMaps }, false},
		"another type": {func(l *Launch) { l.Mounts[len(l.Mounts)-1].Type = "tmpfs" }, false},
		"a name":       {func(l *Launch) { l.Mounts[len(l.Mounts)-1].Source = "cgroup" }, false},
	} {
		l := defaultLaunch(Dir("/srv/rootfs"), "true")
		l.Mounts = append(l.Mounts, Mount{Type: "cgroup", Target: "/sys/fs/cgroup", Source: folder, Data: "cpu", Flags: ReadOnly})
		test.change(l)
		p, err := l.Program()
		require.NoError(t, err, name)
		text := p.String()
		require.Equal(t, test.cloned, strings.Contains(text, `"`+folder+`", OPEN_TREE_CLONE`), "%s\n%s", name, text)
		require.Equal(t, !test.cloned && name != "another type", strings.Contains(text, `fsopen("cgroup"`), name)
		if test.cloned {
			require.Less(t, strings.Index(text, folder), strings.Index(text, "setns("))
			require.Contains(t, text, "set=MOUNT_ATTR_RDONLY, propagation=MS_PRIVATE")
		}
	}
}
