package image

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A sentinel is an error that also satisfies Is for a more general one.
type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string { return e.text }

func (e *sentinel) Is(target error) bool { return e.is != nil && target == e.is }

var (
	// ErrNotFound is returned when the store has no image of that name, digest or ID. It satisfies
	// errors.Is(err, fs.ErrNotExist).
	ErrNotFound error = &sentinel{"no such image", fs.ErrNotExist}

	// ErrAmbiguous is returned when the beginning of an ID fits several images.
	ErrAmbiguous = errors.New("ambiguous image ID")

	// ErrInUse is returned when an image that would be deleted is held, or in use by a container.
	ErrInUse = errors.New("image is in use")

	// ErrConflict is returned by Remove when an ID stands for an image that has names in several repositories.
	ErrConflict = errors.New("image is referenced in multiple repositories")

	// ErrNotImage is returned when what a name leads to is no container image: an artifact, for example a signature or
	// a chart, or a manifest of a form that is no longer in use. It satisfies errors.Is(err, errors.ErrUnsupported).
	ErrNotImage error = &sentinel{"not a container image", errors.ErrUnsupported}

	// ErrInvalid is returned when a manifest, index, configuration or layer breaks its format's rules, or contradicts
	// its digest or another of them.
	ErrInvalid = errors.New("invalid image")

	// ErrCorrupt is returned by Check, and by what reads the store, when a blob that should be there is missing or
	// changed.
	ErrCorrupt = errors.New("image store is damaged")
)

// A PlatformError is returned when an image exists, but not for the platform.
type PlatformError struct {
	Ref       string
	Want      string   // such as "linux/arm64/v8"
	Available []string // what there is instead
}

func (e *PlatformError) Error() string {
	if len(e.Available) == 0 {
		return fmt.Sprintf("%s: no image for platform %s", e.Ref, e.Want)
	}
	return fmt.Sprintf("%s: no image for platform %s; there is: %s", e.Ref, e.Want, strings.Join(e.Available, ", "))
}

func newPlatformError(ref string, want ocispec.Platform, have []ocispec.Platform) *PlatformError {
	e := &PlatformError{Ref: ref, Want: formatPlatform(want)}
	seen := map[string]bool{}
	for _, p := range have {
		s := formatPlatform(p)
		if s != "unknown/unknown" && !seen[s] {
			seen[s] = true
			e.Available = append(e.Available, s)
		}
	}
	return e
}
