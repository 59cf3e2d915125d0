package layer

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// A Layer is an extracted layer.
type Layer struct {
	// DiffID is the digest of the layer's tar stream, uncompressed.
	DiffID digest.Digest

	// Dir is the folder with the layer's content, usable as a lower directory of an overlay. Nothing may be
	// changed in it. "" when Image is set.
	Dir string

	// Image is the file with the layer's content as a file system: see [EROFS]. "" for a folder.
	Image string

	// Size is the sum of the sizes of the layer's regular files in bytes, as Docker counts it: a file with several
	// names in the layer counts once, a hole counts in full.
	Size int64

	// Usage is what the layer's content takes on disk, in bytes, when it was extracted.
	Usage int64

	// Names is the number of names in the layer, whiteouts included.
	Names int64

	// Opaque is set when the layer hides all layers below it: its tar stream marks the root directory as opaque.
	Opaque bool

	// scratch is a folder on the layer's file system for what a mount needs; "" is the system's.
	scratch string
	// implied is the file with the names of folders that the tar stream only implies; "" for none.
	implied string
}

// ErrNotFound is returned, wrapped, when a store does not have the layer that was asked for. It satisfies
// errors.Is(err, fs.ErrNotExist).
var ErrNotFound error = notFound{}

type notFound struct{}

func (notFound) Error() string        { return "no such layer" }
func (notFound) Is(target error) bool { return target == fs.ErrNotExist }

// ErrDigest is returned, wrapped, by Extract when the stream's digest is not the one expected.
var ErrDigest = errors.New("layer's digest differs from the one expected")

// ErrLimit is returned, wrapped, by Extract when a layer goes beyond a bound of [ExtractOptions].
var ErrLimit = errors.New("layer is over a limit")

// An EntryError is returned by Extract when an entry of the tar stream cannot be written: because the layer is not to
// be trusted (Err says why), or because the system refused (Err is the errno, wrapped).
type EntryError struct {
	Name string // as in the tar stream
	Err  error
}

// Error implements error.
func (e *EntryError) Error() string { return fmt.Sprintf("tar entry %q: %v", e.Name, e.Err) }

// Unwrap returns Err.
func (e *EntryError) Unwrap() error { return e.Err }
