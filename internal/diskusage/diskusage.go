// Package diskusage measures what files take on disk, as du(1) does.
package diskusage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A Meter adds up what files take. A file with several names counts once in a Meter. The zero value is ready.
type Meter struct {
	seen map[file]bool
}

// A file is what tells one from another.
type file struct{ device, inode uint64 }

// Tree returns what is at path and below takes on disk, in bytes: the blocks of all files, folders too. Links are not
// followed; mounts are entered. What vanishes meanwhile counts as it was seen; a path that is not there is 0.
func (m *Meter) Tree(ctx context.Context, path string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += m.add(info)
		}
		return err
	})
	return sum, err
}

func (m *Meter) add(info os.FileInfo) int64 {
	id, links, size := identify(info)
	if links > 1 && !info.IsDir() {
		if m.seen[id] {
			return 0
		}
		if m.seen == nil {
			m.seen = map[file]bool{}
		}
		m.seen[id] = true
	}
	return size
}
