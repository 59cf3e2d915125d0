package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// A real distribution, a real registry: Debian made with debootstrap is pushed by skopeo to Debian's docker-registry,
// pulled and run.
func TestDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("a Debian takes minutes to make")
	}
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "debootstrap", "skopeo", "docker-registry", "tar")
	testenv.ReapOrphans(t)
	layout := newDebianLayout(t)
	host := startDebianRegistry(t)
	run := func(name string, args ...string) string {
		t.Helper()
		var errout bytes.Buffer
		c := exec.Command(name, args...)
		c.Stderr = &errout
		out, err := c.Output()
		require.NoError(t, err, "%s: %s", c, errout.String())
		return string(out)
	}
	run("skopeo", "copy", "--dest-tls-verify=false", "oci:"+layout+":debian", "docker://"+host+"/debian:12")

	root := t.TempDir()
	env := []string{"CAISSON_ROOT=" + root}
	minidocker := newCommand(t)
	docker := func(args ...string) string {
		t.Helper()
		return run("env", append([]string{env[0], minidocker}, args...)...)
	}
	out := docker("pull", host+"/debian:12")
	require.Contains(t, out, "12: Pulling from ")
	require.Contains(t, out, ": Pull complete\n")
	require.Contains(t, docker("run", "--rm", host+"/debian:12", "cat", "/etc/os-release"), "VERSION_CODENAME=bookworm")
	require.Regexp(t, `^apt \d`, docker("run", "--rm", host+"/debian:12", "apt-get", "--version"))
	require.Equal(t, "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n",
		docker("run", "--rm", "-u", "www-data", host+"/debian:12", "id"))
	require.Equal(t, "6\n", docker("run", "--rm", host+"/debian:12", "perl", "-e", "print 1+2+3, qq(\\n)"))
	interact(t, env, host+"/debian:12", "bash", "--norc")
	require.Empty(t, docker("ps", "-a", "-q"))
}

// newDebianLayout makes an OCI image layout with the image "debian": a minimal bookworm. debootstrap's tree is kept in
// the folder that CAISSON_TEST_CACHE names, if it does.
func newDebianLayout(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("CAISSON_TEST_CACHE")
	if cache == "" {
		cache = t.TempDir()
	}
	require.NoError(t, os.MkdirAll(cache, 0o755))
	archive := filepath.Join(cache, "bookworm-minbase-"+runtime.GOARCH+".tar")
	if _, err := os.Stat(archive); err != nil {
		tree := filepath.Join(t.TempDir(), "bookworm")
		out, err := exec.Command("debootstrap", "--variant=minbase", "bookworm", tree, debianMirror(t)).CombinedOutput()
		require.NoError(t, err, "%s", out[max(0, len(out)-4000):])
		out, err = exec.Command("tar", "--numeric-owner", "--xattrs", "-C", tree, "-cf", archive+".part", ".").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, os.Rename(archive+".part", archive))
	}
	return newLayout(t, archive)
}

// debianMirror returns the mirror that the machine's own apt uses.
func debianMirror(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)").Output()
	require.NoError(t, err)
	for uri := range strings.Lines(string(out)) {
		if uri = strings.TrimSpace(uri); !strings.Contains(uri, "security") {
			return uri
		}
	}
	testenv.Skip(t, "a Debian mirror in apt's sources")
	return ""
}

// newLayout makes an OCI image layout of one image, "debian", with the archive as its one layer, uncompressed.
func newLayout(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	require.NoError(t, os.MkdirAll(blobs, 0o755))
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	sum, err := digest.FromReader(f)
	require.NoError(t, err)
	fi, err := f.Stat()
	require.NoError(t, err)
	require.NoError(t, exec.Command("cp", archive, filepath.Join(blobs, sum.Encoded())).Run())
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sum, Size: fi.Size()}
	document := func(mediaType string, v any) ocispec.Descriptor {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		require.NoError(t, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), b, 0o644))
		return d
	}
	config := document(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Config:   ocispec.ImageConfig{Cmd: []string{"bash"}},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{sum}},
	})
	manifest := document(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer},
	})
	manifest.Annotations = map[string]string{ocispec.AnnotationRefName: "debian"}
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{manifest},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	return dir
}

// startDebianRegistry starts Debian's docker-registry on a free loopback port and returns its host.
func startDebianRegistry(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), host), 0o644))
	c := exec.Command("docker-registry", "serve", config)
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, time.Minute, 50*time.Millisecond, "docker-registry listens")
	return host
}
