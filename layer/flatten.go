package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Flatten writes what the layers, the lowest first, show together, as [Archive] writes a folder: what upper ones replace or delete
// is not in it. They are mounted meanwhile, or copied where no overlay can be had.
func Flatten(ctx context.Context, w io.Writer, layers []Layer) (err error) {
	root, err := Mount(ctx, layers, &MountOptions{ReadOnly: true, Copy: CopyFallback})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFolder("/")
	if err != nil {
		return err
	}
	defer f.Close()
	return Archive(ctx, w, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
