package image

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/layer"
)

// tool runs a program and returns what it prints.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	require.NoError(t, cmd.Run(), "%s %s: %s%s", name, args, diag.String(), out.String())
	return out.String()
}

// newCrane builds go-containerregistry's crane, pinned in testdata/crane/go.mod.
func newCrane(t *testing.T) string {
	t.Helper()
	testenv.RequireCommand(t, "go")
	if testing.Short() {
		t.Skip("builds another module")
	}
	crane := filepath.Join(t.TempDir(), "crane")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", crane, "github.com/google/go-containerregistry/cmd/crane")
	build.Dir = filepath.Join("testdata", "crane")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		testenv.Skip(t, "the module of crane: "+string(out))
	}
	return crane
}

// newDockerd starts Debian's dockerd with a folder of its own, and returns the client's arguments for it.
func newDockerd(t *testing.T) []string {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "dockerd", "containerd", "docker")
	dir, err := os.MkdirTemp("", "d") // the path of a socket below it may have 104 bytes
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = syscall.Unmount(filepath.Join(dir, "data"), syscall.MNT_DETACH) // of one that did not start
		require.NoError(t, os.RemoveAll(dir))
	})
	socket := filepath.Join(dir, "s")
	var diag bytes.Buffer
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", "unix://"+socket, "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--storage-driver=vfs", "--ip-forward=false")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // for the stacks that its containerd writes when it is slow to answer
	cmd.Stdout, cmd.Stderr = &diag, &diag
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(60 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	for range 600 {
		select {
		case err := <-ended:
			ended <- err
			testenv.Skip(t, "a dockerd that starts here: "+diag.String())
		case <-time.After(100 * time.Millisecond):
		}
		resp, err := client.Get("http://docker/_ping")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return []string{"-H", "unix://" + socket}
			}
		}
	}
	t.Fatal("dockerd does not answer: " + diag.String())
	return nil
}

// tarListing is what GNU tar lists of a folder, to the nanosecond and with extended attributes, in the order of names.
func tarListing(t *testing.T, dir string) []string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "tar")
	tool(t, "tar", "--xattrs", "--xattrs-include=*", "--format=pax", "--sort=name", "--numeric-owner", "--sparse", "-C", dir,
		"-cf", archive, ".")
	out := tool(t, "tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--full-time", "-tvvf", archive)
	return strings.Split(strings.TrimSpace(out), "\n")
}

// newTrees makes a folder with something of everything that a layer holds, and another one with changes to it.
func newTrees(t *testing.T) (base, changed string) {
	base, changed = filepath.Join(t.TempDir(), "base"), filepath.Join(t.TempDir(), "changed")
	script := `set -e
mkdir -p "$1"; cd "$1"; umask 022
mkdir -p bin dev etc/deep/er var/gone tmp; chmod 1777 tmp
echo program >bin/a; chmod 4755 bin/a; ln bin/a bin/hard; ln -s a bin/soft; chown -h 12:34 bin/soft
echo user >etc/user; chown 1000:70000 etc/user; setfattr -n user.note -v value etc/user; setfattr -n user.dir -v yes etc/deep
cp /bin/true bin/ping; setcap cap_net_raw+ep bin/ping
mknod dev/null c 1 3; mknod dev/disk b 259 65537; mkfifo -m 620 dev/fifo
truncate -s 5M var/sparse; echo end >>var/sparse; echo x >var/gone/x; echo file >var/becomes
printf x >"etc/$(printf 'new\nline')"; printf x >etc/ü
touch -d '2001-02-03 04:05:06.123456789' etc/user bin/a; touch -h -d '1999-01-01 00:00:00.5' bin/soft`
	tool(t, "sh", "-c", script, "sh", base)
	tool(t, "cp", "-a", base, changed)
	tool(t, "sh", "-c", `set -e
cd "$1"; rm -r var/gone bin/hard; rm var/becomes; mkdir var/becomes; echo new >var/becomes/folder
echo more >>etc/user; setfattr -x user.dir etc/deep; setfattr -n user.other -v "$(printf 'a=b')" etc/deep/er
chmod 700 etc/deep; ln etc/user etc/again; touch -d '2010-10-10 10:10:10.101010101' etc/user`, "sh", changed)
	return base, changed
}

// TestPeersRoundTrip imports a root file system, commits changes to it, pushes it to a store that is served, and has each
// peer pull it from there and push it back; what is pulled elsewhere is what it was, entry by entry as GNU tar lists it.
func TestPeersRoundTrip(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "tar", "setfattr", "setcap")
	base, changed := newTrees(t)
	want := tarListing(t, changed)
	s := openStore(t, t.TempDir())
	archive := filepath.Join(t.TempDir(), "base.tar")
	tool(t, "tar", "--xattrs", "--xattrs-include=*", "--format=pax", "--sparse", "-C", base, "-cf", archive, ".")
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	parent, err := s.ImportTar(t.Context(), f, &CommitOptions{Name: "base"})
	require.NoError(t, err)
	var diff bytes.Buffer
	require.NoError(t, layer.Diff(t.Context(), &diff, changed, &layer.DiffOptions{Lower: base}))
	img, err := s.Commit(t.Context(), writes(diff.Bytes()), &CommitOptions{Name: "changed", Parent: parent, Changes: []string{"CMD true"}})
	require.NoError(t, err)

	served := openStore(t, t.TempDir())
	_, host := serve(t, served, "here.test")
	s.mustTag(t, "changed", host+"/mine:v1")
	_, err = Push(t.Context(), s, host+"/mine:v1", nil)
	require.NoError(t, err)
	same := func(t *testing.T, ref string) *Image {
		t.Helper()
		elsewhere := openStore(t, t.TempDir())
		got, err := Pull(t.Context(), elsewhere, ref, nil)
		require.NoError(t, err)
		require.Equal(t, img.Config.RootFS.DiffIDs, got.Config.RootFS.DiffIDs)
		at := t.TempDir()
		root, err := layer.Mount(t.Context(), got.Layers, &layer.MountOptions{ReadOnly: true, Target: at})
		require.NoError(t, err)
		list := tarListing(t, at)
		require.NoError(t, root.Close())
		require.Equal(t, want, list)
		return got
	}
	t.Run("caisson", func(t *testing.T) {
		require.Equal(t, img.Digest, same(t, host+"/mine:v1").Digest)
		// And unpacked from save's archive.
		other := openStore(t, t.TempDir())
		_, err := other.Load(t.Context(), bytes.NewReader(mustSave(t, s, nil, "changed")), nil)
		require.NoError(t, err)
		_, err = other.Lookup(t.Context(), img.Digest.String(), nil)
		require.NoError(t, err)
	})
	t.Run("skopeo", func(t *testing.T) {
		testenv.RequireCommand(t, "skopeo")
		skopeo(t, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+host+"/mine:v1", "docker://"+host+"/skopeo:v1")
		same(t, host+"/skopeo:v1")
	})
	t.Run("podman", func(t *testing.T) {
		testenv.RequireCommand(t, "podman")
		dir, err := os.MkdirTemp("", "p") // its runroot may have 50 bytes
		require.NoError(t, err)
		defer func() { require.NoError(t, os.RemoveAll(dir)) }()
		podman := func(args ...string) string {
			return tool(t, "podman", append([]string{"--root", dir + "/r", "--runroot", dir + "/rr", "--storage-driver", "vfs"}, args...)...)
		}
		podman("pull", "-q", "--tls-verify=false", host+"/mine:v1")
		podman("push", "-q", "--tls-verify=false", host+"/mine:v1", host+"/podman:v1")
		same(t, host+"/podman:v1")
		require.NoError(t, os.Symlink(s.Dir(), dir+"/images")) // it wants a path in lower case
		podman("pull", "-q", "oci:"+dir+"/images:docker.io/library/changed:latest")
		// It writes into a store an image without sparse files, of which it does not find the bytes again.
		plain, img, _ := pulled(t, twoLayers.layers...)
		plain.mustTag(t, img.ID.String(), "simple")
		saved := filepath.Join(dir, "saved")
		require.NoError(t, os.WriteFile(saved, mustSave(t, plain, nil, "simple"), 0o600))
		podman("load", "-q", "-i", saved)
		written := openStore(t, t.TempDir())
		require.NoError(t, os.Symlink(written.Dir(), dir+"/written"))
		podman("push", "-q", "docker.io/library/simple:latest", "oci:"+dir+"/written:docker.io/library/simple:latest")
		got, err := written.Get(t.Context(), "simple", nil)
		require.NoError(t, err)
		require.Equal(t, img.Config.RootFS.DiffIDs, got.Config.RootFS.DiffIDs)
	})
	t.Run("docker", func(t *testing.T) {
		docker := newDockerd(t)
		for _, args := range [][]string{{"pull", "-q", host + "/mine:v1"}, {"tag", host + "/mine:v1", host + "/docker:v1"},
			{"push", "-q", host + "/docker:v1"}} {
			tool(t, "docker", append(docker[:2:2], args...)...)
		}
		same(t, host+"/docker:v1")
		// docker load and save, both ways: of an image without extended attributes and sparse files, which dockerd does
		// not find again in what it has unpacked.
		plain, img, _ := pulled(t, twoLayers.layers...)
		plain.mustTag(t, img.ID.String(), "simple")
		saved := filepath.Join(t.TempDir(), "saved")
		require.NoError(t, os.WriteFile(saved, mustSave(t, plain, nil, "simple"), 0o600))
		tool(t, "docker", append(docker[:2:2], "load", "-q", "-i", saved)...)
		tool(t, "docker", append(docker[:2:2], "save", "-o", saved+"2", "simple")...)
		back, err := os.Open(saved + "2")
		require.NoError(t, err)
		defer back.Close()
		other := openStore(t, t.TempDir())
		done, err := other.Load(t.Context(), back, nil)
		require.NoError(t, err)
		require.Equal(t, []Loaded{{"docker.io/library/simple:latest", img.ID}}, done)
	})
	t.Run("crane", func(t *testing.T) {
		crane := newCrane(t)
		tool(t, crane, "copy", "--insecure", host+"/mine:v1", host+"/crane/copy:v1")
		require.Equal(t, img.Digest, same(t, host+"/crane/copy:v1").Digest)
		require.Equal(t, img.Digest.String(), strings.TrimSpace(tool(t, crane, "digest", "--insecure", host+"/crane/copy:v1")))
		layout := t.TempDir()
		tool(t, crane, "pull", "--insecure", "--format=oci", host+"/mine:v1", layout)
		tool(t, crane, "push", "--insecure", layout, host+"/crane/pushed:v1")
		same(t, host+"/crane/pushed:v1")
		tags := strings.Fields(tool(t, crane, "ls", "--insecure", host+"/crane/pushed"))
		sort.Strings(tags)
		require.Equal(t, []string{"v1"}, tags)
		// The store's own folder, read and written as it is.
		tool(t, crane, "push", "--insecure", "--index", s.Dir(), host+"/crane/store:all")
		require.Contains(t, tool(t, crane, "manifest", "--insecure", host+"/crane/store:all"), img.Digest.String())
		written := openStore(t, t.TempDir())
		tool(t, crane, "pull", "--insecure", "--format=oci", "--annotate-ref", host+"/mine:v1", written.Dir())
		got, err := written.Get(t.Context(), host+"/mine:v1", nil)
		require.NoError(t, err)
		require.Equal(t, img.Digest, got.Digest)
		require.Len(t, got.Layers, 2)
	})
}
