package image

import (
	"errors"
	"os"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// On a file system without any space left even deleting an image would fail, since it begins with a new index.json. So the
// store keeps a file that takes as much as that, and gives it up when it must.
const (
	reserveName  = "reserve"
	reserveLeast = 64 << 10 // bytes
)

// makeReserve makes the file, or a larger one when index.json has grown. That it cannot is no error: there may be no space
// already.
func (s *Store) makeReserve() {
	size := int64(reserveLeast)
	if fi, err := os.Stat(s.path(ocispec.ImageIndexFile)); err == nil {
		size += 2 * fi.Size()
	}
	if fi, err := os.Lstat(s.path(reserveName)); err == nil && fi.Size() >= size/2 {
		return
	}
	// Bytes, since a hole takes nothing.
	_ = os.WriteFile(s.path(reserveName), make([]byte, size), 0o600)
}

// writeIndex is Store.writeIndex, which gives the reserve up when there is no space.
func (del *deletion) writeIndex() error {
	err := del.s.writeIndex(del.index)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	_ = removeIfThere(del.s.path(factsName))
	if removeIfThere(del.s.path(reserveName)) != nil {
		return err
	}
	del.spent = true
	return del.s.writeIndex(del.index)
}
