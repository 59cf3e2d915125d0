package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/registry"
)

// Folders of what programs push to a store that is served (see Served).
const (
	uploadsName = "uploads" // a registry.UploadFolder
	pushedName  = "pushed"  // a file for each blob whose manifest has not come yet
)

// A pushedBlob is a blob that was pushed to a repository before its manifest. Its file keeps the blob from being pruned for
// partialAge, whether the program that took it lives or not.
type pushedBlob struct {
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	since      time.Time
}

const maxPushed = 4 << 10

func (s *Store) pushedPath(repository string, d digest.Digest) string {
	name := sha256.Sum256([]byte(repository + "@" + d.String()))
	return s.path(pushedName, hex.EncodeToString(name[:]))
}

// hold keeps a blob for a repository until a manifest leads to it.
func (s *Store) hold(ctx context.Context, repository string, d digest.Digest) error {
	return s.locked(ctx, func() error {
		if err := os.MkdirAll(s.path(pushedName), 0o755); err != nil {
			return err
		}
		return durable.WriteJSON(s.pushedPath(repository, d), pushedBlob{Repository: repository, Digest: d}, 0o600)
	})
}

// pushed lists the blobs whose manifests have not come yet.
func (s *Store) pushed() ([]pushedBlob, error) {
	list, err := os.ReadDir(s.path(pushedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []pushedBlob
	for _, e := range list {
		path := s.path(pushedName, e.Name())
		b, err := readBounded(path, maxPushed)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its manifest has come just now
		}
		if err != nil {
			return nil, err
		}
		var p pushedBlob
		fi, err := e.Info()
		if err != nil || json.Unmarshal(b, &p) != nil || p.Digest.Validate() != nil || s.pushedPath(p.Repository, p.Digest) != path {
			continue // what sweepPushed removes
		}
		p.since = fi.ModTime()
		all = append(all, p)
	}
	return all, nil
}

// sweepPushed gives up what no program has gone on with for long; the store's lock must be held.
func (s *Store) sweepPushed(ctx context.Context) error {
	old := time.Now().Add(-partialAge)
	pushed, err := s.pushed()
	if err != nil {
		return err
	}
	young := map[string]bool{}
	for _, p := range pushed {
		young[s.pushedPath(p.Repository, p.Digest)] = p.since.After(old)
	}
	all, err := filepath.Glob(s.path(pushedName, "*")) // what is no record was left half written
	for _, path := range all {
		if !young[path] {
			err = errors.Join(err, removeIfThere(path))
		}
	}
	if exists(s.path(uploadsName)) {
		uploads, oerr := registry.OpenUploads(s.path(uploadsName))
		if oerr == nil {
			_, oerr = uploads.ExpireUploads(ctx, old)
		}
		err = errors.Join(err, oerr)
	}
	return err
}
