package build

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// host is a folder of the host with a file that nothing is to read or change.
func host(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("host's"), 0o600))
	t.Cleanup(func() {
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, list, 1)
		text, err := os.ReadFile(filepath.Join(dir, "file"))
		require.NoError(t, err)
		require.Equal(t, "host's", string(text))
	})
	return dir
}

// TestHostileContext has a stream with names, links, devices and sizes that lead out or are too much.
func TestHostileContext(t *testing.T) {
	e := newEngine(t)
	dir := host(t)
	for name, test := range map[string]struct {
		files []file
		want  string
	}{
		"name":             {[]file{{name: "../x"}}, "leads out"},
		"absolute":         {[]file{{name: dir + "/x"}}, ""},
		"through a link":   {[]file{{name: "l", link: dir}, {name: "l/x"}}, "escapes"},
		"hard link":        {[]file{{name: "l", link: "../../" + dir + "/file", typ: tar.TypeLink}}, "leads out"},
		"device":           {[]file{{name: "d", typ: tar.TypeChar}}, "neither"},
		"names":            {make([]file, 20), "more than 10 names"},
		"bytes":            {[]file{{name: "a", content: strings.Repeat("x", 2000)}}, "more than 1000 bytes"},
		"link as ignore":   {[]file{{name: ".dockerignore", link: dir + "/file"}}, ""},
		"file by a link":   {[]file{{name: "a", link: dir + "/file"}}, "COPY failed"},
		"file by up":       {[]file{{name: "a", link: "../../../../../../../../.." + dir + "/file"}}, "COPY failed"},
		"folder by a link": {[]file{{name: "b", link: dir}, {name: "a", link: "b/file"}}, "COPY failed"},
	} {
		for i := range test.files {
			if test.files[i].name == "" {
				test.files[i].name = "n" + strings.Repeat("x", i)
			}
		}
		_, _, err := try(t, e, stream(t, test.files...), "FROM base\nCOPY a /x", &Options{MaxNames: 10, MaxContext: 1000})
		require.ErrorContains(t, err, test.want, name)
	}
	_, _, err := try(t, e, stream(t, file{name: "Dockerfile", link: dir + "/file"}), "", nil)
	require.Error(t, err)
	// A link is copied as it is, and not what it leads to.
	img, _ := must(t, e, stream(t, file{name: "d/"}, file{name: "d/l", link: dir + "/file"}), "FROM base\nCOPY d /d", nil)
	require.Equal(t, dir+"/file\n", inside(t, e, img.ID.String(), "readlink /d/l"))
	_, _, err = try(t, e, stream(t, file{name: "d/"}, file{name: "d/.wh.x"}), "FROM base\nCOPY d /d", nil)
	require.ErrorContains(t, err, "a layer cannot hold a file of such a name")
}

// TestCVE_2018_15664 copies by links of an image that lead out of it for who follows them on the host: to them, and from them.
func TestCVE_2018_15664(t *testing.T) {
	e := newEngine(t)
	dir := host(t)
	up := strings.Repeat("../", 20) + dir
	img, _ := must(t, e, stream(t, file{name: "a", content: "A"}), "FROM base AS l\nRUN ln -s "+dir+" /abs; ln -s "+up+" /up; ln -s "+dir+"/file /file\n"+
		"FROM l\nCOPY a /abs/x\nCOPY a /up/y\nCOPY a /file\n", &Options{Tags: []string{"links"}})
	require.Equal(t, "file\nx\ny\n", inside(t, e, img.ID.String(), "ls "+dir))
	for _, from := range []string{"/file", "/abs/file", "/up/file"} {
		_, _, err := try(t, e, nil, "FROM base AS l\nRUN ln -s "+dir+" /abs; ln -s "+up+" /up; ln -s "+dir+"/file /file\nFROM base\nCOPY --from=l "+from+" /x", nil)
		require.ErrorContains(t, err, "COPY failed", from)
	}
}

// TestHostileArchive extracts an archive whose links lead out.
func TestHostileArchive(t *testing.T) {
	e := newEngine(t)
	dir := host(t)
	archive := func(files ...file) *Context {
		return stream(t, file{name: "a.tar", content: string(tarOf(t, files...))})
	}
	img, _ := must(t, e, archive(file{name: "l", link: dir}, file{name: "l/x", content: "X"}), "FROM base\nADD a.tar /d/", nil)
	require.Equal(t, "X", inside(t, e, img.ID.String(), "cat "+dir+"/x"))
	for _, f := range []file{{name: "../x"}, {name: "h", link: "../../../etc/passwd", typ: tar.TypeLink}, {name: "d/.wh..wh..opq"}} {
		_, _, err := try(t, e, archive(f), "FROM base\nADD a.tar /d/", nil)
		require.Error(t, err, f.name)
	}
}

// TestCVE_2019_14271 looks up a user in an image that has its own idea of where users are: nothing of the image is executed or loaded, and no
// link of it leads to the host's files.
func TestCVE_2019_14271(t *testing.T) {
	e := newEngine(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte("hosts:x:77:77::/:/bin/sh\n"), 0o600))
	_, _, err := try(t, e, stream(t, file{name: "a"}), "FROM base\nRUN rm /etc/passwd; ln -s "+dir+"/passwd /etc/passwd\nCOPY --chown=hosts a /x", nil)
	require.ErrorContains(t, err, "--chown=hosts")
}

// TestCVE_2024_23651: a cache that begins at a path in something else is what was raced for; there is none here.
func TestCVE_2024_23651(t *testing.T) {
	e := newEngine(t)
	_, _, err := try(t, e, nil, "FROM base\nRUN --mount=type=cache,target=/c,source=x true", nil)
	require.ErrorContains(t, err, "not implemented")
	// What binds show is a copy, in which no link is followed.
	dir := host(t)
	_, _, err = try(t, e, stream(t, file{name: "l", link: dir}), "FROM base\nRUN --mount=target=/c,source=l cat /c/file", nil)
	require.Error(t, err)
}

// TestCVE_2024_23652: no place of a mount is taken away by its path when the command has put a link there, and none is empty or the root.
func TestCVE_2024_23652(t *testing.T) {
	e := newEngine(t)
	dir := host(t)
	must(t, e, nil, "FROM base\nRUN --mount=type=tmpfs,target=/a/b/file rm -rf /a/c; mv /a/b /a/c || true; ln -s "+dir+" /a/b || true\n", nil)
	for _, target := range []string{"", "/", "/x/.."} {
		_, _, err := try(t, e, nil, "FROM base\nRUN --mount=type=tmpfs,target="+target+" true", nil)
		require.ErrorContains(t, err, "target", target)
	}
}

// TestCVE_2024_23653: a Dockerfile cannot have a command run with more privileges than others.
func TestCVE_2024_23653(t *testing.T) {
	e := newEngine(t)
	_, _, err := try(t, e, nil, "FROM base\nRUN --security=insecure true", nil)
	require.ErrorContains(t, err, "not implemented")
	_, out := must(t, e, nil, "FROM base\nRUN grep -E 'CapEff|Seccomp:' /proc/self/status", nil)
	require.Contains(t, out, "CapEff:\t00000000a80425fb\nSeccomp:\t2\n")
}
