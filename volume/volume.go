package volume

import (
	"fmt"
	"io/fs"
	"time"
)

// A Volume is one volume of a store, as it was when it was read.
type Volume struct {
	// Name is the volume's name, unique in its store.
	Name string `json:"name"`
	// Labels are the user's; they have no meaning here.
	Labels map[string]string `json:"labels,omitempty"`
	// Anonymous is true for a volume that was created without a name, or with CreateOptions.Anonymous.
	Anonymous bool `json:"anonymous,omitempty"`
	// Size bounds the content in bytes, if it is not 0.
	Size int64 `json:"size,omitempty"`
	// Options are the driver's options as somebody wrote them: for those who show them, with no meaning here.
	Options map[string]string `json:"options,omitempty"`
	// Created is the time of creation.
	Created time.Time `json:"created"`
	// Mount is what it is in place of a folder of the store, or nil.
	Mount *Mount `json:"mount,omitempty"`
	// Path is the folder with the content, on the host.
	Path string `json:"-"`
}

// CreateOptions are the optional settings of Create.
type CreateOptions struct {
	// Driver is "local". Empty means that too.
	Driver string
	// Mount, if it is not nil, makes a volume that is no folder of the store.
	Mount *Mount
	// Labels are kept with the volume, and so are Options, of which Size and Mount are what has a meaning: 64 KiB of both at most.
	Labels, Options map[string]string
	// Anonymous marks the volume as one whose name nobody chose: for those who must know the name before it is made.
	Anonymous bool
	// Size bounds the volume's content in bytes, rounded up to 1024, if it is not 0: a write above it fails with ENOSPC. It
	// takes a file system with project quotas and Linux ≥ 5.14; else the error is errors.ErrUnsupported. Programs with
	// CAP_SYS_RESOURCE are not bound, which containers do not have by default; nor is a program that changes the project of its
	// files (FS_IOC_FSSETXATTR), as the root of a container without a user namespace of its own can.
	Size int64
}

// PruneOptions are the optional settings of Prune.
type PruneOptions struct {
	// All prunes volumes with a name of their own too. By default only anonymous ones are.
	All bool
	// Keep, if not nil, is asked about each volume that is not in use, and spares those that it returns true for.
	Keep func(Volume) bool
}

// Returned, wrapped, by a Store's calls.
var (
	// ErrNotFound is returned when there is no volume with the name. It satisfies fs.ErrNotExist.
	ErrNotFound error = &sentinel{"no such volume", fs.ErrNotExist}
	// ErrExists is returned by Create when the name is taken. It satisfies fs.ErrExist.
	ErrExists error = &sentinel{"volume exists already", fs.ErrExist}
	// ErrInUse is returned by Remove while somebody has acquired the volume.
	ErrInUse error = &sentinel{"volume is in use", nil}
	// ErrName is returned for a name that no volume can have. It satisfies fs.ErrInvalid.
	ErrName error = &sentinel{"volume names are 2 to 255 of [a-zA-Z0-9_.-], the first a letter or digit", fs.ErrInvalid}
)

type sentinel struct {
	text string
	is   error
}

func (e *sentinel) Error() string        { return e.text }
func (e *sentinel) Is(target error) bool { return e.is != nil && target == e.is }

// maxName is the longest file name.
const maxName = 255

// CheckName tells whether a volume can have the name, as Docker does: [a-zA-Z0-9][a-zA-Z0-9_.-]+. The error is ErrName.
func CheckName(name string) error {
	ok := len(name) >= 2 && len(name) <= maxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = alnum || i > 0 && (c == '_' || c == '.' || c == '-')
	}
	if !ok {
		return fmt.Errorf("volume %q: %w", name, ErrName)
	}
	return nil
}
