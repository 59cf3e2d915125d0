package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
)

// MountBlob implements BlobMounter.
func (s *FolderStore) MountBlob(ctx context.Context, repository, from string, d digest.Digest) error {
	lock, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	if from != "" {
		if _, err := os.Lstat(s.blobLink(from, d)); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(s.blobPath(d)); err != nil {
		return err
	}
	return mark(s.blobLink(repository, d))
}

func (s *FolderStore) referrerMark(repository string, subject, d digest.Digest) string {
	return s.in(repository, "_referrers", split(subject), strings.Replace(string(d), ":", "-", 1))
}

// PutManifest implements ManifestPutter.
func (s *FolderStore) PutManifest(ctx context.Context, repository string, m *StoredManifest) error {
	lock, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	d := m.Descriptor.Digest
	if m.Subject != "" {
		if err := mark(s.referrerMark(repository, m.Subject, d)); err != nil {
			return err
		}
	}
	if err := s.write(s.blobPath(d), m.Content); err != nil {
		return err
	}
	record := s.recordPath(repository, d)
	if err := makeDirs(filepath.Dir(record)); err != nil {
		return err
	}
	if err := durable.WriteJSON(record, manifestRecord{m.Descriptor, m.Subject}, 0o600); err != nil {
		return err
	}
	for _, tag := range m.Tags {
		if err := s.write(s.in(repository, "_tags", tag), []byte(d)); err != nil {
			return err
		}
	}
	return nil
}

func (s *FolderStore) write(path string, content []byte) error {
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	return durable.WriteFile(path, content, 0o600)
}

// DeleteManifest implements Deleter.
func (s *FolderStore) DeleteManifest(ctx context.Context, repository string, d digest.Digest) error {
	lock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer lock.Close()
	m, err := s.record(repository, d)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tags, err := s.Tags(ctx, repository)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		of, err := s.tag(repository, tag)
		if err != nil || of != d {
			continue
		}
		if err := unmark(s.in(repository, "_tags", tag)); err != nil {
			return err
		}
	}
	if err := unmark(s.recordPath(repository, d)); err != nil {
		return err
	}
	if m != nil && m.Subject != "" {
		_ = os.Remove(s.referrerMark(repository, m.Subject, d)) // does nothing any more
	}
	return nil
}

// DeleteTag implements Deleter.
func (s *FolderStore) DeleteTag(ctx context.Context, repository, tag string) error {
	lock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer lock.Close()
	return unmark(s.in(repository, "_tags", tag))
}

// DeleteBlob implements Deleter.
func (s *FolderStore) DeleteBlob(ctx context.Context, repository string, d digest.Digest) error {
	lock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer lock.Close()
	return unmark(s.blobLink(repository, d))
}
