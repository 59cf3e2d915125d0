package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// repositoryFile is called with a file of a repository: part is the name of its folder there, such as _blobs, and
// name the path below.
type repositoryFile func(repository, part, name string) error

// walk visits every file of every repository.
func (s *FolderStore) walk(ctx context.Context, visit repositoryFile) error {
	top := filepath.Join(s.dir, "repositories")
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		repository, rest, ok := strings.Cut("/"+filepath.ToSlash(rel), "/_")
		part, name, below := strings.Cut(rest, "/")
		if !ok || !below || strings.HasPrefix(d.Name(), ".tmp-") {
			return nil
		}
		return visit(strings.TrimPrefix(repository, "/"), "_"+part, name)
	})
}

// Check reads the whole store and returns what is wrong with it, joined: content that is missing or does not have its
// digest, records that are damaged, tags that name no manifest. It may run while the store is in use. What a crash
// leaves behind harmlessly is not wrong.
func (s *FolderStore) Check(ctx context.Context) error {
	lock, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	var wrong []error
	checked := map[digest.Digest]bool{}
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	err = s.walk(ctx, func(repository, part, name string) error {
		d := digest.Digest(strings.Replace(name, "/", ":", 1))
		switch part {
		case "_tags":
			of, err := s.tag(repository, name)
			if err == nil {
				_, err = s.record(repository, of)
			}
			if err != nil {
				report("tag %s of repository %s: %w", name, repository, err)
			}
			return nil
		case "_manifests":
			if _, err := s.record(repository, d); err != nil {
				report("repository %s: %w", repository, err)
			}
		case "_blobs":
		default:
			return nil
		}
		if d.Validate() != nil {
			report("repository %s: %s/%s is not named after a digest", repository, part, name)
			return nil
		}
		if !checked[d] {
			checked[d] = true
			if err := s.checkContent(d); err != nil {
				report("repository %s: %w", repository, err)
			}
		}
		return nil
	})
	return errors.Join(append(wrong, err)...)
}

func (s *FolderStore) checkContent(d digest.Digest) error {
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := d.Algorithm().FromReader(f)
	if err != nil {
		return err
	}
	if got != d {
		return &DigestError{Subject: f.Name(), Want: d, Got: got}
	}
	return nil
}

// Collect removes the content that no repository has, and what crashed writers left; it returns how many bytes of
// content that were. Adding and deleting wait meanwhile, reading goes on.
func (s *FolderStore) Collect(ctx context.Context) (int64, error) {
	lock, err := s.lock(ctx, true)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	kept := map[string]bool{}
	err = s.walk(ctx, func(_, part, name string) error {
		if part == "_blobs" || part == "_manifests" {
			kept[name] = true
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var freed int64
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an upload that ended
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		name, isContent := strings.CutPrefix(filepath.ToSlash(rel), "blobs/")
		if rel == "uploads" {
			return filepath.SkipDir
		}
		if d.IsDir() || !(isContent && !kept[name]) && !strings.HasPrefix(d.Name(), ".tmp-") {
			return nil
		}
		if info, err := d.Info(); err == nil {
			freed += info.Size()
		}
		return os.Remove(path)
	})
	return freed, errors.Join(err, durable.SyncDir(filepath.Join(s.dir, "blobs")))
}

// Usage implements UsageReporter.
func (s *FolderStore) Usage(ctx context.Context, repository string) (int64, error) {
	var sum int64
	seen := map[string]bool{}
	for _, part := range []string{"_blobs", "_manifests"} {
		top := s.in(repository, part)
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			name, err := filepath.Rel(top, path)
			if err != nil || d.IsDir() || seen[name] || strings.HasPrefix(d.Name(), ".tmp-") {
				return err
			}
			seen[name] = true
			info, err := os.Lstat(filepath.Join(s.dir, "blobs", name))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil {
				sum += info.Size()
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	uploads, err := s.uploads.Usage(repository)
	return sum + uploads, err
}
