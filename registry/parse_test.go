package registry

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseChallenges(t *testing.T) {
	for in, want := range map[string][]challenge{
		"":                                     nil,
		`Basic realm="a b"`:                    {{"basic", map[string]string{"realm": "a b"}}},
		`Bearer realm="https://x/t",service=y`: {{"bearer", map[string]string{"realm": "https://x/t", "service": "y"}}},
		`bearer realm=https://x/t, scope="repository:a:pull,push"`: {
			{"bearer", map[string]string{"realm": "https://x/t", "scope": "repository:a:pull,push"}},
		},
		`Basic realm="q\"q", Bearer realm = "r" , service="s"`: {
			{"basic", map[string]string{"realm": `q"q`}}, {"bearer", map[string]string{"realm": "r", "service": "s"}},
		},
		`Negotiate, NTLM abc==, Basic realm=x`: {
			{"negotiate", map[string]string{}}, {"ntlm", map[string]string{}}, {"basic", map[string]string{"realm": "x"}},
		},
	} {
		got, err := parseChallenges(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{`Bearer realm="x`, `Bearer realm="x\`, `Bearer a="b",realm=,x=y`, `="x"`, `Bearer realm="a",realm="b"`, "Basic\x00", strings.Repeat("a", 10000)} {
		_, err := parseChallenges(in)
		require.Error(t, err, in)
	}
}

func TestNextLink(t *testing.T) {
	base, err := url.Parse("http://h:5000/v2/a/tags/list")
	require.NoError(t, err)
	for in, want := range map[string]string{
		`</v2/a/tags/list?last=b>; rel="next"`:                   "http://h:5000/v2/a/tags/list?last=b",
		`<?n=1>; title="x; y, z"; rel=next`:                      "http://h:5000/v2/a/tags/list?n=1",
		`<http://h:5000/x>;rel="prev", <y>; rel="first Next"; a`: "http://h:5000/v2/a/tags/y",
		`<x>; rel="prev"`:                                        "",
		"":                                                       "",
	} {
		got, err := nextLink(http.Header{"Link": {in}}, base)
		require.NoError(t, err, in)
		if want == "" {
			require.Nil(t, got)
			continue
		}
		require.Equal(t, want, got.String(), in)
	}
	for _, in := range []string{`x`, `<x`, `<x>; rel="next`, `<x>;=`, `<http://h/>; rel=next`, `<//evil/>; rel=next`, `<https://h:5000/>; rel=next`, `<:>; rel=next`} {
		_, err := nextLink(http.Header{"Link": {in}}, base)
		require.Error(t, err, in)
	}
}

func FuzzChallenges(f *testing.F) {
	for _, s := range []string{`Bearer realm="https://x/t",service="y",scope="repository:a:pull"`, `Basic realm=x`, `NTLM abc==, Basic realm="\""`, `a=b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseChallenges(s)
		if err != nil {
			return
		}
		// What was understood is understood again when it is written down plainly.
		var parts []string
		for _, ch := range all {
			part := ch.scheme
			sep := " "
			for key, value := range ch.params {
				part += sep + key + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
				sep = ","
			}
			parts = append(parts, part)
		}
		if text := strings.Join(parts, ", "); len(text) <= maxChallengeLength {
			again, err := parseChallenges(text)
			require.NoError(t, err, text)
			require.Equal(t, all, again)
		}
	})
}

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{`</v2/a?b>; rel="next"`, `<x>; rel=prev, <y>; rel=next`, `<//evil>; rel="next"`, `<`} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "registry.test", Path: "/v2/a/tags/list"}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := nextLink(http.Header{"Link": {s}}, base)
		if err == nil && u != nil {
			require.True(t, sameOrigin(u, base), "%q leads to %s", s, u)
		}
	})
}

func FuzzManifestType(f *testing.F) {
	f.Add("application/vnd.oci.image.manifest.v1+json", []byte(`{"schemaVersion":2,"config":{},"layers":[]}`))
	f.Add("", []byte(`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	f.Add("application/vnd.oci.image.index.v1+json", []byte(`{"manifests":[],"layerſ":[]}`))
	f.Fuzz(func(t *testing.T, kind string, content []byte) {
		got, err := mediaTypeOf(kind, content)
		if err == nil {
			require.NotEqual(t, IsIndex(got), IsManifest(got))
		}
		_, _, _ = readManifest(kind, content)
	})
}
