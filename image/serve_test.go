package image

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/registry"
)

// serve serves a store's images on a port, by the names of the host given, and returns where.
func serve(t *testing.T, s *Store, host string) (*Served, string) {
	t.Helper()
	v, err := s.Serve(host)
	require.NoError(t, err)
	server := httptest.NewServer(&registry.Server{Store: v})
	t.Cleanup(server.Close)
	return v, strings.TrimPrefix(server.URL, "http://")
}

// TestServe pulls from a store what is in it, and pushes what then is.
func TestServe(t *testing.T) {
	s, img, f := pulled(t, testLayer{"a": "1"}, testLayer{"b": "2"})
	s.mustTag(t, img.ID.String(), "here.test/team/app:v1")
	s.mustTag(t, img.ID.String(), "elsewhere.test/secret:v1")
	v, host := serve(t, s, "here.test")
	client := &registry.Client{}
	defer client.CloseIdleConnections()

	other := openStore(t, t.TempDir())
	got, err := Pull(t.Context(), other, host+"/team/app:v1", &PullOptions{Client: client})
	require.NoError(t, err)
	require.Equal(t, img.Digest, got.Digest)
	for _, ref := range []string{host + "/secret:v1", host + "/team:v1", host + "/app:v1"} {
		_, err = Pull(t.Context(), other, ref, &PullOptions{Client: client})
		require.ErrorIs(t, err, registry.ErrNotFound, ref)
	}
	_, err = v.Blob(t.Context(), "secret", img.ID)
	require.ErrorIs(t, err, registry.ErrNotFound, "a blob is seen through its own repository only")

	// A push gives names here; what both have goes by mounting.
	two := f.add(t, testImage{layers: []testLayer{{"a": "1"}, {"c": "3"}}}, "v2")
	_, err = Pull(t.Context(), other, f.ref("app:v2"), nil)
	require.NoError(t, err)
	other.mustTag(t, f.ref("app:v2"), host+"/team/new:v2")
	pushed, err := Push(t.Context(), other, host+"/team/new:v2", &PushOptions{Client: client})
	require.NoError(t, err)
	require.Equal(t, two.Digest, pushed)
	here, err := s.Get(t.Context(), "here.test/team/new:v2", nil)
	require.NoError(t, err)
	require.Equal(t, two.Digest, here.Digest)
	require.Len(t, here.Layers, 2)
	requireEmpty(t, s, pushedName, uploadsName)
	checkStore(t, s)

	// A tag that goes leaves the digest; what goes by digest is gone, and pruned.
	require.NoError(t, v.DeleteTag(t.Context(), "team/new", "v2"))
	require.ErrorIs(t, v.DeleteTag(t.Context(), "team/new", "v2"), registry.ErrNotFound)
	_, _, err = v.Manifest(t.Context(), "team/new", "v2")
	require.ErrorIs(t, err, registry.ErrNotFound)
	_, _, err = v.Manifest(t.Context(), "team/new", two.Digest.String())
	require.NoError(t, err)
	require.NoError(t, v.DeleteManifest(t.Context(), "team/new", two.Digest))
	require.ErrorIs(t, v.DeleteManifest(t.Context(), "team/new", two.Digest), registry.ErrNotFound)
	_, err = s.Prune(t.Context(), &PruneOptions{Untagged: true})
	require.NoError(t, err)
	_, err = s.Lookup(t.Context(), two.Digest.String(), nil)
	require.ErrorIs(t, err, ErrNotFound)
	for _, bad := range []string{"", "a b", "/x", "here.test/x"} {
		_, err := s.Serve(bad)
		require.ErrorIs(t, err, registry.ErrInvalidReference, bad)
	}
}

// TestServePrune prunes between a blob's push and its manifest's.
func TestServePrune(t *testing.T) {
	testenv.RequireRoot(t)
	s := openStore(t, t.TempDir())
	v, _ := serve(t, s, "here.test")
	put := func(content string) digest.Digest {
		u, err := v.NewUpload(t.Context(), "app")
		require.NoError(t, err)
		_, err = v.AppendUpload(t.Context(), u, 0, strings.NewReader(content))
		require.NoError(t, err)
		require.NoError(t, v.CommitUpload(t.Context(), u, digest.FromString(content)))
		return digest.FromString(content)
	}
	d := put("hello")
	for range 2 {
		_, err := s.Prune(t.Context(), nil)
		require.NoError(t, err)
		b, err := v.Blob(t.Context(), "app", d)
		require.NoError(t, err)
		require.NoError(t, b.Close())
		d = put("hello")
	}
	usage, err := v.Usage(t.Context(), "app")
	require.NoError(t, err)
	require.Equal(t, int64(5), usage)
	n, err := v.ExpireUploads(t.Context(), time.Now().Add(time.Second))
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
	_, err = v.Blob(t.Context(), "app", d)
	require.ErrorIs(t, err, registry.ErrNotFound)

	// A manifest of what is not there does not get into the store.
	m := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"` +
		ocispec.MediaTypeImageConfig + `","digest":"` + string(d) + `","size":5},"layers":[]}`)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	err = v.PutManifest(t.Context(), "app", &registry.StoredManifest{Descriptor: desc, Content: m, Tags: []string{"v1"}})
	require.Error(t, err)
	_, err = s.Prune(t.Context(), nil)
	require.NoError(t, err)
	checkStore(t, s)
}

// TestServeSkopeo is skopeo reading and writing a store over HTTP.
func TestServeSkopeo(t *testing.T) {
	testenv.RequireCommand(t, "skopeo")
	s, img, _ := pulled(t, testLayer{"a": "1"}, testLayer{"b": "2"})
	s.mustTag(t, img.ID.String(), "here.test/app:v1")
	_, host := serve(t, s, "here.test")
	dir := t.TempDir()
	skopeo(t, "copy", "--src-tls-verify=false", "--preserve-digests", "docker://"+host+"/app:v1", "oci:"+dir+":x")
	skopeo(t, "copy", "--dest-tls-verify=false", "--preserve-digests", "oci:"+dir+":x", "docker://"+host+"/app/copy:v2")
	got, err := s.Get(t.Context(), "here.test/app/copy:v2", nil)
	require.NoError(t, err)
	require.Equal(t, img.Digest, got.Digest)
	skopeo(t, "delete", "--tls-verify=false", "docker://"+host+"/app/copy:v2")
	_, err = s.Get(t.Context(), "here.test/app/copy:v2", nil)
	require.ErrorIs(t, err, ErrNotFound)
}

// TestServeConformance runs the OCI distribution conformance suite against a store that is served, but for what it cannot:
// manifests of what is not there, and the deletion of single blobs of images.
func TestServeConformance(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "go")
	if testing.Short() {
		t.Skip("builds another module")
	}
	suite := filepath.Join(t.TempDir(), "conformance")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", suite, "github.com/opencontainers/distribution-spec/conformance")
	build.Dir = filepath.Join("..", "registry", "testdata", "conformance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		testenv.Skip(t, "the conformance suite: "+string(out))
	}
	s := openStore(t, t.TempDir())
	v, host := serve(t, s, "here.test")
	cmd := exec.CommandContext(t.Context(), suite)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_VERSION=1.1", "OCI_RESULTS_DIR="+cmd.Dir,
		"OCI_API_BLOBS_DELETE=false", "OCI_API_BLOBS_UPLOAD_CANCEL=true")
	out, err := cmd.CombinedOutput()
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\w+)\.{3,}:\s+(\d+)$`).FindAllStringSubmatch(string(out), -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	t.Log(counts)
	require.NoError(t, err, "%s", tail(out))
	require.Greater(t, counts["Pass"], 300)
	require.Zero(t, counts["FAIL"]+counts["Fail"]+counts["Error"])
	_, err = v.ExpireUploads(t.Context(), time.Now().Add(time.Second))
	require.NoError(t, err)
	requireEmpty(t, s, pushedName, uploadsName)
	_, err = s.Prune(t.Context(), &PruneOptions{Unused: true})
	require.NoError(t, err)
}

func tail(b []byte) []byte {
	lines := bytes.Split(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-80):], []byte("\n"))
}
