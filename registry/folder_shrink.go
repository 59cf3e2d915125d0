package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// used notes that content was read: its modification time says when. It is not worth an error.
func (s *FolderStore) used(d digest.Digest) {
	path := s.blobPath(d)
	if info, err := os.Lstat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
		return
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
}

// Shrink implements Shrinker.
func (s *FolderStore) Shrink(ctx context.Context, size int64) (int64, error) {
	lock, err := s.lock(ctx, true)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	type content struct {
		name string // below blobs, with slashes
		size int64
		used time.Time
	}
	var all []content
	var left int64
	top := filepath.Join(s.dir, "blobs")
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() || strings.HasPrefix(d.Name(), ".tmp-") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		all, left = append(all, content{filepath.ToSlash(rel), info.Size(), info.ModTime()}), left+info.Size()
		return err
	})
	if err != nil || left <= size {
		return left, err
	}
	slices.SortFunc(all, func(a, b content) int { return a.used.Compare(b.used) })
	gone := map[string]bool{}
	for i := 0; i < len(all) && left > size; i++ {
		gone[all[i].name] = true
		left -= all[i].size
	}
	// Names first: what has one must be there.
	if err := s.forgetNames(ctx, gone); err != nil {
		return left, err
	}
	for name := range gone {
		if err := os.Remove(filepath.Join(top, filepath.FromSlash(name))); err != nil {
			return left, err
		}
	}
	return left, nil
}

// forgetNames removes what names content: tags, then records and marks.
func (s *FolderStore) forgetNames(ctx context.Context, gone map[string]bool) error {
	of := func(repository, part, name string) string {
		if part != "_tags" {
			return name
		}
		d, err := s.tag(repository, name)
		if err != nil {
			return ""
		}
		return filepath.ToSlash(split(d))
	}
	changed := map[string]bool{}
	for _, parts := range [][]string{{"_tags"}, {"_manifests", "_blobs"}} {
		err := s.walk(ctx, func(repository, part, name string) error {
			if !slices.Contains(parts, part) || !gone[of(repository, part, name)] {
				return nil
			}
			path := s.in(repository, part, filepath.FromSlash(name))
			changed[filepath.Dir(path)] = true
			if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for dir := range changed {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
