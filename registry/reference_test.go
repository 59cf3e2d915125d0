package registry

import (
	"regexp"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]Reference{
		"alpine":                      {"docker.io", "library/alpine", "latest", ""},
		"alpine:3.22":                 {"docker.io", "library/alpine", "3.22", ""},
		"user/app":                    {"docker.io", "user/app", "latest", ""},
		"docker.io/alpine":            {"docker.io", "library/alpine", "latest", ""},
		"index.docker.io/alpine":      {"docker.io", "library/alpine", "latest", ""},
		"localhost/app":               {"localhost", "app", "latest", ""},
		"localhost:5000/a/b/c:T_1.x":  {"localhost:5000", "a/b/c", "T_1.x", ""},
		"[::1]:5000/app":              {"[::1]:5000", "app", "latest", ""},
		"UPPER/app":                   {"UPPER", "app", "latest", ""},
		"alpine@" + someDigest:        {"docker.io", "library/alpine", "", someDigest},
		"ghcr.io/a/b:c@" + someDigest: {"ghcr.io", "a/b", "c", someDigest},
		"localhost:5000":              {"docker.io", "library/localhost", "5000", ""},
	} {
		t.Run(in, func(t *testing.T) {
			got, err := ParseReference(in)
			require.NoError(t, err)
			require.Equal(t, want, got)
			again, err := ParseReference(got.String())
			require.NoError(t, err)
			require.Equal(t, got, again)
			again, err = ParseReference(got.Familiar())
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for in, words := range map[string]string{
		"":                                      "empty",
		"Alpine":                                "must be lowercase",
		"ghcr.io/User/app":                      "must be lowercase",
		strings.Repeat("a", 64):                 "64 hexadecimal",
		"alpine:":                               "ends early",
		"alpine@":                               "ends early",
		"alpine:-x":                             "tag",
		"alpine:" + strings.Repeat("a", 129):    "tag",
		"alpine@sha256:abc":                     "digest",
		"alpine@md5:" + strings.Repeat("a", 32): "digest",
		someDigest:                              "is a digest",
		"bad_host.io/app":                       "host",
		"-x.io/app":                             "host",
		"x.io:port/app":                         "host",
		"../../etc/passwd":                      "host",
		"a/../b":                                "repository name",
		"a//b":                                  "repository name",
		"a/":                                    "repository name",
		"/a":                                    "repository name",
		"a b":                                   "repository name",
		"https://ghcr.io/a":                     "host",
		"a/" + strings.Repeat("b", 255):         "not be more than 255",
		"a\x1b[31m/b":                           "repository name",
	} {
		_, err := ParseReference(in)
		require.ErrorIs(t, err, ErrInvalidReference, "%q", in)
		require.ErrorContains(t, err, words, "%q", in)
		require.NotContains(t, err.Error(), "\x1b")
	}
}

func TestFamiliar(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io/library/alpine": "alpine:latest",
		"docker.io/library/a/b":    "library/a/b:latest",
		"docker.io/user/app:1":     "user/app:1",
		"ghcr.io/library/alpine":   "ghcr.io/library/alpine:latest",
		"alpine:1@" + someDigest:   "alpine:1@" + someDigest,
	} {
		r, err := ParseReference(in)
		require.NoError(t, err)
		require.Equal(t, want, r.Familiar())
	}
}

// oracle reads s with the library that docker uses.
func oracle(s string) (Reference, bool) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, false
	}
	named = reference.TagNameOnly(named)
	r := Reference{Host: reference.Domain(named), Repository: reference.Path(named)}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	if _, err := digest.Parse(s); err == nil {
		return Reference{}, false // would be read as the tag of a repository named after the algorithm
	}
	// With a first component such as a_b.c that is no host, that library returns a name without one.
	return r, r.Host != ""
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "a/b:c@" + someDigest, "[::1]:5000/x", "localhost/x", "A/b", "a.b/c--d__e.f", "a:5000/b",
		"x@sha512:" + strings.Repeat("0", 128), "a_b.c/d", "İ/x", "x:tag:tag", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseReference(s)
		want, ok := oracle(s)
		require.Equal(t, ok, err == nil, "%q: %v, oracle %v", s, err, want)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidReference)
			return
		}
		require.Equal(t, want, got)
		again, err := ParseReference(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzValidRepository(f *testing.F) {
	pattern := regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	for _, s := range []string{"a", "a/b", "a__b", "a___b", "a..b", "a.-b", "a--b/c", "", "/", "..", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, len(s) <= 255 && pattern.MatchString(s), validRepository(s), "%q", s)
	})
}
