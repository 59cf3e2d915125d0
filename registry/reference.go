package registry

import (
	// The algorithms that go-digest knows are available only when linked.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

const (
	dockerHost       = "docker.io"
	dockerLegacyHost = "index.docker.io"
	dockerEndpoint   = "registry-1.docker.io"
	officialPrefix   = "library/"
	defaultTag       = "latest"
	localhost        = "localhost"
)

// ErrInvalidReference is returned when a string is no image reference, or a Reference's fields are not valid.
var ErrInvalidReference = errors.New("invalid reference format")

// A Reference names a manifest in a repository of a registry, fully: nothing in it is implied.
type Reference struct {
	// Host is the registry's host with its port, if any: docker.io, localhost:5000, [::1]:5000.
	Host string
	// Repository is the path in the registry: library/alpine. At most 255 bytes.
	Repository string
	// Tag may be empty when Digest is not. At most 128 bytes.
	Tag string
	// Digest, when set, is what the manifest must have; it then decides which one is meant, whatever the tag says.
	Digest digest.Digest
}

// ParseReference reads s by Docker's rules. A first component with a dot, a colon or an upper-case letter, or
// "localhost", is the registry's host, otherwise the host is docker.io; there a single name is below "library/";
// without a tag and a digest the tag is "latest". Errors satisfy errors.Is(err, ErrInvalidReference).
func ParseReference(s string) (Reference, error) {
	if s == "" {
		return Reference{}, fmt.Errorf("%w: the reference is empty", ErrInvalidReference)
	}
	if isHex(s, 64) {
		return Reference{}, fmt.Errorf("%w: repository name %q cannot be 64 hexadecimal characters, as image IDs are",
			ErrInvalidReference, s)
	}
	if algorithm, _, ok := strings.Cut(s, ":"); ok && digest.Algorithm(algorithm).Available() && digest.Digest(s).Validate() == nil {
		return Reference{}, fmt.Errorf("%w: %s is a digest, not a name (Docker keeps such names for image IDs)",
			ErrInvalidReference, s)
	}
	host, rest := splitHost(s)
	repository, _, _ := strings.Cut(rest, ":")
	if strings.ToLower(repository) != repository {
		return Reference{}, fmt.Errorf("%w: repository name (%s) must be lowercase", ErrInvalidReference,
			printable(repository))
	}
	rest, dgst, hasDigest := strings.Cut(rest, "@")
	repository, tag, hasTag := strings.Cut(rest, ":")
	r := Reference{Host: host, Repository: repository, Tag: tag, Digest: digest.Digest(dgst)}
	if hasTag && tag == "" || hasDigest && dgst == "" {
		return Reference{}, fmt.Errorf("%w: %q ends early", ErrInvalidReference, s)
	}
	if !hasTag && !hasDigest {
		r.Tag = defaultTag
	}
	if err := r.Validate(); err != nil {
		return Reference{}, err
	}
	return r, nil
}

// splitHost separates the registry's host from the rest, filling in what a familiar name leaves out.
func splitHost(s string) (host, rest string) {
	first, after, slash := strings.Cut(s, "/")
	if !slash {
		return dockerHost, officialPrefix + s
	}
	switch {
	case first == dockerLegacyHost:
		host, rest = dockerHost, after
	case first == localhost, strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		host, rest = first, after
	default:
		host, rest = dockerHost, s
	}
	if host == dockerHost && !strings.Contains(rest, "/") {
		rest = officialPrefix + rest
	}
	return host, rest
}

// Validate reports whether every field has the form that ParseReference gives it. Errors satisfy
// errors.Is(err, ErrInvalidReference).
func (r Reference) Validate() error {
	switch {
	case !validHost(r.Host):
		return fmt.Errorf("%w: registry host %q", ErrInvalidReference, r.Host)
	case len(r.Repository) > maxRepositoryLength:
		return fmt.Errorf("%w: repository name must not be more than %d characters", ErrInvalidReference,
			maxRepositoryLength)
	case !validRepository(r.Repository):
		return fmt.Errorf("%w: repository name %q", ErrInvalidReference, r.Repository)
	case r.Tag == "" && r.Digest == "":
		return fmt.Errorf("%w: neither tag nor digest", ErrInvalidReference)
	case r.Tag != "" && !validTag(r.Tag):
		return fmt.Errorf("%w: tag %q", ErrInvalidReference, r.Tag)
	}
	if r.Digest != "" {
		if err := r.Digest.Validate(); err != nil {
			return fmt.Errorf("%w: digest %q: %w", ErrInvalidReference, string(r.Digest), err)
		}
	}
	return nil
}

// Name returns the host and the repository: docker.io/library/alpine.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// String returns the whole reference, which ParseReference reads back as the same: docker.io/library/alpine:latest.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Familiar returns the reference as Docker shows it: alpine:latest for docker.io/library/alpine:latest.
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

// Familiar returns a reference as [Reference.Familiar] does, with the tag that is meant when there is none; what is no reference stays as it is.
func Familiar(ref string) string {
	r, err := ParseReference(ref)
	if err != nil {
		return ref
	}
	return r.Familiar()
}

// FamiliarName is Name as Docker shows it: alpine for docker.io/library/alpine.
func (r Reference) FamiliarName() string {
	if r.Host != dockerHost {
		return r.Name()
	}
	if name, ok := strings.CutPrefix(r.Repository, officialPrefix); ok && !strings.Contains(name, "/") {
		return name
	}
	return r.Repository
}

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// identifier is what the protocol's paths name the manifest by.
func (r Reference) identifier() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Tag
}
