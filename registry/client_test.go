package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

func TestPushAndPull(t *testing.T) {
	c := newClient(t)
	ref := parse(t, newServer(t, new(Server))+"/team/app:1")
	layer := randomBytes(300_000)
	manifest, layerDesc := pushImage(t, c, ref, layer)

	require.NoError(t, c.Ping(t.Context(), ref.Host))
	desc, got, err := c.Manifest(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, manifest, got)
	require.Equal(t, describing(ocispec.MediaTypeImageManifest, manifest), desc)

	resolved, err := c.Resolve(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, desc, resolved)

	ref.Digest = desc.Digest
	_, got, err = c.Manifest(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, manifest, got)

	b, err := readBlob(t, c, ref, layerDesc)
	require.NoError(t, err)
	require.Equal(t, layer, b)
}

func TestPushBlobOutcomes(t *testing.T) {
	c := newClient(t)
	host := newServer(t, new(Server))
	a, b := parse(t, host+"/a"), parse(t, host+"/b")
	content := "content"
	up := func(r Reference, from string) BlobOutcome {
		out, err := c.PushBlob(t.Context(), r, BlobUpload{
			Descriptor: describing("", []byte(content)), Content: strings.NewReader(content), MountFrom: from,
		})
		require.NoError(t, err)
		return out
	}
	require.Equal(t, BlobUploaded, up(a, "nowhere"))
	require.Equal(t, BlobExists, up(a, ""))
	require.Equal(t, BlobMounted, up(b, "a"))
	_, err := readBlob(t, c, b, describing("", []byte(content)))
	require.NoError(t, err)
	empty, err := c.PushBlob(t.Context(), a, BlobUpload{Descriptor: describing("", nil)})
	require.NoError(t, err)
	require.Equal(t, BlobUploaded, empty)
	got, err := readBlob(t, c, a, describing("", nil))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestPushRefuses(t *testing.T) {
	c := newClient(t)
	ref := parse(t, newServer(t, new(Server))+"/a:1")
	_, err := c.PushBlob(t.Context(), ref, BlobUpload{Descriptor: describing("", []byte("x")), Content: strings.NewReader("y")})
	require.ErrorContains(t, err, CodeDigestInvalid)
	manifest := `{"schemaVersion":2,"config":{"digest":"` + someDigest + `","size":0},"layers":[]}`
	err = c.PushManifest(t.Context(), ref, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}, []byte(manifest))
	require.ErrorContains(t, err, CodeManifestBlobUnknown)
	require.ErrorContains(t, err, someDigest)
	wrong := ref
	wrong.Digest = someDigest
	var digestError *DigestError
	err = c.PushManifest(t.Context(), wrong, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}, []byte(manifest))
	require.ErrorAs(t, err, &digestError)
	require.Error(t, c.PushManifest(t.Context(), ref, ocispec.Descriptor{}, []byte(`{}`)))
}

func TestNotFound(t *testing.T) {
	c := newClient(t)
	ref := parse(t, newServer(t, new(Server))+"/team/app:9")
	_, _, err := c.Manifest(t.Context(), ref)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, ref.Familiar())
	var answer *Error
	require.ErrorAs(t, err, &answer)
	require.Equal(t, CodeManifestUnknown, answer.Code)
	_, err = c.Blob(t.Context(), ref, describing("", []byte("x")))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = c.Tags(t.Context(), ref)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = c.Resolve(t.Context(), ref)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestRegistryDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, _, err = newClient(t).Manifest(t.Context(), parse(t, l.Addr().String()+"/app"))
	require.ErrorContains(t, err, "nothing listens there")
	require.ErrorContains(t, err, l.Addr().String()+"/app:latest")
}

func TestNoSuchHost(t *testing.T) {
	c := newClient(t)
	var dials atomic.Int32
	c.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, &net.DNSError{Err: "no such host", Name: "registry.test", IsNotFound: true}
	}}}
	_, _, err := c.Manifest(t.Context(), parse(t, "registry.test/app"))
	require.ErrorContains(t, err, "registry.test")
	require.ErrorContains(t, err, "check the host's name")
	require.EqualValues(t, 1, dials.Load(), "tried again what will not change")
}

func TestSlowRegistry(t *testing.T) {
	release := make(chan struct{})
	host := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer close(release)
	c := newClient(t)
	c.ResponseTimeout, c.Retries = 30*time.Millisecond, 1
	_, _, err := c.Manifest(t.Context(), parse(t, host+"/app"))
	require.ErrorContains(t, err, "no answer for 30ms")
	require.ErrorContains(t, err, "overloaded")

	c = newClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, _, err = c.Manifest(ctx, parse(t, host+"/app"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRetries(t *testing.T) {
	for name, test := range map[string]struct {
		fail  func(w http.ResponseWriter)
		times int32
		want  error
		tries int32
	}{
		"429 passes":           {status(429), 2, nil, 3},
		"503 passes":           {status(503), 3, nil, 4},
		"429 stays":            {status(429), 99, ErrTooManyRequests, 4},
		"500 stays":            {status(500), 99, &Error{}, 4},
		"501 is for good":      {status(501), 99, &Error{}, 1},
		"cut connection":       {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 2, nil, 3},
		"much too long a wait": {statusAfter(429, "3600"), 99, ErrTooManyRequests, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) <= test.times {
					test.fail(w)
				}
			}))
			c := newClient(t)
			c.schemes = nil
			c.init()
			c.schemes[host] = "http" // the attempt at HTTPS would not reach the handler, but a cut one is tried too
			err := c.Ping(t.Context(), host)
			switch want := test.want.(type) {
			case nil:
				require.NoError(t, err)
			case *Error:
				require.ErrorAs(t, err, &want)
			default:
				require.ErrorIs(t, err, want)
			}
			require.Equal(t, test.tries, n.Load())
		})
	}
}

func status(code int) func(http.ResponseWriter) { return statusAfter(code, "") }
func statusAfter(code int, after string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", after)
		w.WriteHeader(code)
	}
}

func TestRetryAfter(t *testing.T) {
	var asked atomic.Int32
	var first time.Time
	host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			first = time.Now()
			statusAfter(429, "1")(w)
			return
		}
		if time.Since(first) < time.Second {
			t.Error("came back too early")
		}
	}))
	require.NoError(t, newClient(t).Ping(t.Context(), host))
	now := time.Now().Truncate(time.Second)
	d, ok := retryAfter(http.Header{"Retry-After": {now.Add(time.Minute).UTC().Format(http.TimeFormat)}}, now)
	require.True(t, ok)
	require.Equal(t, time.Minute, d)
}

func TestCancelEndsRetries(t *testing.T) {
	host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	c := newClient(t)
	c.firstBackoff = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Ping(ctx, host), context.DeadlineExceeded)
}

// TestHostileManifests has a registry send what must not be believed.
func TestHostileManifests(t *testing.T) {
	const image = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{},"layers":[]`
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		junk := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(junk); err != nil {
				return
			}
		}
	}
	answer := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, body)
		}
	}
	for name, test := range map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"endless":            {endless, "longer than 4194304 bytes"},
		"claims a gigabyte":  {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000") }, "longer than"},
		"web page":           {answer("text/html; charset=utf-8", "<html>"), "not JSON"},
		"JSON of a web page": {answer("text/html", `{}`), `"text/html" is not that of`},
		"schema 1":           {answer("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`), "obsolete"},
		"two types":          {answer(ocispec.MediaTypeImageIndex, image+`}`), "ambiguous"},
		"both":               {answer(ocispec.MediaTypeImageManifest, image+`,"manifests":[]}`), "ambiguous"},
		"key twice":          {answer(ocispec.MediaTypeImageManifest, image+`,"layers":[]}`), "occurs twice"},
		"key in other case":  {answer(ocispec.MediaTypeImageManifest, image+`,"Layers":[]}`), "another case"},
		"index with layers":  {answer(ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`), "ambiguous"},
		"an array":           {answer(ocispec.MediaTypeImageManifest, `[]`), "not a JSON object"},
		"wrong digest": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", someDigest)
			answer(ocispec.MediaTypeImageManifest, image+`}`)(w, nil)
		}, "wanted digest " + someDigest + ", got sha256:"},
		"terminal codes": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"errors":[{"code":"X\u001b[31m","message":"\u001b]0;evil\u0007`+strings.Repeat("y", 9999)+`"}]}`)
		}, "evil"},
		"endless error": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			endless(w, r)
		}, "Bad Request"},
		"redirect loop": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, "more than 10 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			host := newServer(t, test.h)
			start := time.Now()
			_, _, err := newClient(t).Manifest(t.Context(), parse(t, host+"/app"))
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, host+"/app:latest")
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 1500)
			require.Less(t, time.Since(start), 40*time.Second)
		})
	}
}

func TestManifestDigestAsked(t *testing.T) {
	manifest := `{"schemaVersion":2,"config":{},"layers":[]}`
	host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		fmt.Fprint(w, manifest)
	}))
	c := newClient(t)
	_, _, err := c.Manifest(t.Context(), parse(t, host+"/app@"+someDigest))
	var wrong *DigestError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, DigestError{Subject: "manifest", Want: someDigest, Got: digest.FromString(manifest)}, *wrong)
	desc, _, err := c.Manifest(t.Context(), parse(t, host+"/app@"+string(digest.SHA512.FromString(manifest))))
	require.NoError(t, err)
	require.Equal(t, digest.SHA512, desc.Digest.Algorithm())
}

func TestSchemes(t *testing.T) {
	registry := new(Server)
	plain := newServer(t, registry)
	encrypted := httptest.NewTLSServer(registry)
	defer encrypted.Close()
	tlsHost := strings.TrimPrefix(encrypted.URL, "https://")

	require.NoError(t, newClient(t).Ping(t.Context(), plain), "plain HTTP on loopback")
	require.NoError(t, newClient(t).Ping(t.Context(), tlsHost), "unverified TLS on loopback")

	err := dialing(newClient(t), plain).Ping(t.Context(), "registry.test:5000")
	require.ErrorContains(t, err, "it does not speak HTTPS")
	require.ErrorContains(t, err, "list registry.test:5000 as an insecure registry")

	err = dialing(newClient(t), tlsHost).Ping(t.Context(), "registry.test:5000")
	require.ErrorContains(t, err, "its certificate is not trusted")

	for _, address := range []string{plain, tlsHost} {
		c := dialing(newClient(t), address)
		c.Insecure = []string{"registry.test:5000", "10.0.0.0/8"}
		require.NoError(t, c.Ping(t.Context(), "registry.test:5000"))
		require.NoError(t, c.Ping(t.Context(), "10.1.2.3:5000"))
		require.Error(t, c.Ping(t.Context(), "registry.test:5001"))
		require.Error(t, c.Ping(t.Context(), "11.1.2.3:5000"))
	}
}

func TestPingNoRegistry(t *testing.T) {
	err := newClient(t).Ping(t.Context(), newServer(t, http.NotFoundHandler()))
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "no registry")
	require.ErrorIs(t, newClient(t).Ping(t.Context(), "a/b"), ErrInvalidReference)
}

func TestInvalidReferenceIsNotSent(t *testing.T) {
	c := newClient(t)
	for _, ref := range []Reference{
		{}, {Host: "h", Repository: "../x", Tag: "t"}, {Host: "h/..", Repository: "x", Tag: "t"}, {Host: "h", Repository: "x", Tag: "../t"},
		{Host: "h", Repository: "x", Digest: "sha256:../../x"},
	} {
		_, _, err := c.Manifest(t.Context(), ref)
		require.ErrorIs(t, err, ErrInvalidReference)
		_, err = c.Blob(t.Context(), ref, ocispec.Descriptor{Digest: "sha256:../../x"})
		require.ErrorIs(t, err, ErrInvalidReference)
	}
}

func TestErrorJSON(t *testing.T) {
	b, err := json.Marshal(wireErrors{[]wireError{{Code: CodeDenied}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"errors":[{"code":"DENIED"}]}`, string(b))
	require.True(t, errors.Is(&Error{Status: 403}, ErrDenied))
	require.False(t, errors.Is(&Error{Status: 403}, ErrNotFound))
	require.True(t, errors.Is(&Error{Status: 401}, fs.ErrPermission))
}
