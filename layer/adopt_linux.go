package layer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/caisson-engine/caisson/internal/kernel"
)

// whole returns the layer that a folder of tmp holds, if it was extracted whole and nothing of it can have been lost: the
// record is written last and deleted first, and the kernel still is the one that wrote it.
func (s *Store) whole(t *temp) (*Pending, bool) {
	data, err := readLimited(filepath.Join(t.path, recordName), maxRecord)
	if err != nil {
		return nil, false
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.DiffID.Validate() != nil || r.Boot == "" || r.Boot != kernel.BootID() {
		return nil, false
	}
	content := contentName
	if r.Format != "" {
		content = imageName
	}
	if fi, err := os.Lstat(filepath.Join(t.path, content)); err != nil || fi.IsDir() != (r.Format == "") {
		return nil, false
	}
	return &Pending{DiffID: r.DiffID, Size: r.Size, record: r, temp: t}, true
}

// sweep deletes what is in tmp and belongs to no running process, but for layers that were extracted whole before their
// process was killed: these are put into the store, so that the next pull finds them.
func (s *Store) sweep() error {
	left, err := s.abandoned()
	var found []*Pending
	for _, t := range left {
		if p, ok := s.whole(t); ok {
			found = append(found, p)
			continue
		}
		err = errors.Join(err, t.remove())
	}
	if err != nil {
		for _, p := range found {
			err = errors.Join(err, p.temp.lock.Close())
		}
		return err
	}
	if _, err := s.Commit(context.Background(), found...); err != nil {
		// Without them the store works: a full disk, say, must not keep it from being opened.
		for _, p := range found {
			err = p.Discard()
		}
		return err
	}
	return nil
}
