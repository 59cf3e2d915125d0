package build

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
)

// TestAddAddress adds what a server has.
func TestAddAddress(t *testing.T) {
	e := newEngine(t)
	archive := tarOf(t, file{name: "in"})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		switch r.URL.Path {
		case "/a":
			_, _ = w.Write([]byte("A"))
		case "/b.tar":
			_, _ = w.Write(archive)
		case "/to":
			http.Redirect(w, r, "/a", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	sum := digest.FromString("A").String()
	img, _ := must(t, e, nil, "FROM base\nARG s\nADD --checksum=$s "+s.URL+"/a /d/\nADD --chown=7 --chmod=640 "+s.URL+"/a "+s.URL+"/b.tar "+s.URL+"/to /e/\n", &Options{
		Args: map[string]string{"s": sum},
	})
	require.Equal(t, "600 0:0 1000000000\n640 7:7 1000000000\n/e/a\n/e/b.tar\n/e/to\n", // an archive is not extracted
		inside(t, e, img.ID.String(), "stat -c '%a %u:%g %Y' /d/a /e/a; ls /e/*"))
	for add, want := range map[string]string{
		"--checksum=" + digest.FromString("B").String() + " " + s.URL + "/a /x": "digest mismatch " + sum,
		"--checksum=md5:x " + s.URL + "/a /x":                                   "no digest of sha256",
		"--checksum=" + sum + " a /x":                                           "local source",
		s.URL + "/none /x":                                                      "404",
		s.URL + " /x/":                                                          "cannot determine filename",
		s.URL + "/b.tar /x":                                                     "more than 1000 bytes",
		s.URL + "/r.git /x":                                                     "git are not implemented",
	} {
		_, _, err := try(t, e, stream(t, file{name: "a", content: "A"}), "FROM base\nADD "+add, &Options{MaxDownload: 1000})
		require.ErrorContains(t, err, want, add)
	}
	// The cache goes by what is there.
	_, out := must(t, e, nil, "FROM base\nADD "+s.URL+"/a /d/", nil)
	require.Equal(t, 0, hits(out))
	_, out = must(t, e, nil, "FROM base\nADD "+s.URL+"/a /d/", nil)
	require.Equal(t, 1, hits(out))
	must(t, e, nil, "FROM base\nONBUILD ADD "+s.URL+"/a /d/\nONBUILD ADD "+s.URL+"/to /d/", &Options{Tags: []string{"triggers"}})
	img, _ = must(t, e, nil, "FROM triggers", nil)
	require.Equal(t, "a\nto\n", inside(t, e, img.ID.String(), "ls /d"))
}

// TestFromPlatform takes for each stage the image of its platform.
func TestFromPlatform(t *testing.T) {
	e := newEngine(t)
	other, _ := must(t, e, stream(t, file{name: "a"}), "FROM --platform=linux/s390x scratch\nCOPY a /a", &Options{Tags: []string{"other"}})
	require.Equal(t, "s390x", other.Config.Architecture)
	img, _ := must(t, e, nil, "FROM --platform=$BUILDPLATFORM base AS b\nARG TARGETARCH\nRUN echo $TARGETARCH >/x\nFROM other\nCOPY --from=b /x /x", &Options{
		Platform: "linux/s390x",
	})
	require.Equal(t, "s390x", img.Config.Architecture)
	tree, err := (&builder{ctx: t.Context()}).tree(img)
	require.NoError(t, err)
	text, err := tree.readFile("/x", 100)
	require.NoError(t, err)
	require.NoError(t, tree.close())
	require.Equal(t, "s390x\n", string(text))
	_, _, err = try(t, e, nil, "FROM --platform=linux/none:x base", nil)
	require.Error(t, err)
	_, _, err = try(t, e, nil, "FROM --platform=linux/ppc64le other", &Options{Container: engine.Config{}})
	require.Error(t, err)
}
