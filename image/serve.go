package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/registry"
)

// A Served is what a registry.Server serves of a Store: the images themselves, not a copy of them. The repository app has
// the images that are named Host/app, by tag or by digest, and a push gives such names; the layers of what is pushed are
// extracted when they are first needed. Deleting takes names away, and [Store.Prune] then deletes what nothing names.
//
// Pushes under way and blobs that no manifest leads to yet are in the store's folder: they outlast the program, also when it
// is killed, and several programs may serve one store. They are given up by ExpireUploads, or after a day. The Server must
// not have AllowMissing: a store whose images lack something is damaged. A Served is safe for concurrent use.
type Served struct {
	s       *Store
	host    string
	uploads *registry.UploadFolder
}

var _ interface {
	registry.Store
	registry.ReferrerLister
	registry.UploadStore
	registry.UploadRemover
	registry.BlobMounter
	registry.ManifestPutter
	registry.Deleter
	registry.UsageReporter
} = (*Served)(nil)

// Serve returns the registry.Store of the images whose names begin with host, such as "docker.io" or "localhost:5000".
func (s *Store) Serve(host string) (*Served, error) {
	if r, err := registry.ParseReference(host + "/a/b"); err != nil || r.Host != host {
		return nil, fmt.Errorf("serve images: %w: host %q", registry.ErrInvalidReference, host)
	}
	uploads, err := registry.OpenUploads(s.path(uploadsName))
	if err != nil {
		return nil, fmt.Errorf("serve images: %w", err)
	}
	return &Served{s: s, host: host, uploads: uploads}, nil
}

// name returns the full name of a tag or a digest of a repository.
func (v *Served) name(repository, reference string) (string, error) {
	separator := ":"
	if strings.Contains(reference, ":") {
		separator = "@"
	}
	r, err := registry.ParseReference(v.host + "/" + repository + separator + reference)
	if err != nil {
		return "", err
	}
	return storedName(r), nil
}

// entries are what index.json has of a repository, by tag or digest.
func (v *Served) entries(x *ocispec.Index, repository string) (map[string]ocispec.Descriptor, error) {
	at, err := registry.ParseReference(v.host + "/" + repository)
	if err != nil {
		return nil, err
	}
	found := map[string]ocispec.Descriptor{}
	for _, e := range x.Manifests {
		n := entryName(e)
		if n == "" || !strings.HasPrefix(n, at.Name()) {
			continue
		}
		r, err := registry.ParseReference(n)
		if err != nil || r.Name() != at.Name() {
			continue
		}
		if i := namedAt(x, n); i >= 0 {
			key := r.Tag
			if r.Digest != "" {
				key = r.Digest.String()
			}
			found[key] = x.Manifests[i]
		}
	}
	return found, nil
}

// reach is what a repository's names lead to.
func (v *Served) reach(repository string) (*reach, map[string]ocispec.Descriptor, error) {
	x, err := v.s.readIndex()
	if err != nil {
		return nil, nil, err
	}
	entries, err := v.entries(x, repository)
	if err != nil {
		return nil, nil, err
	}
	r := v.s.newReach()
	for _, e := range entries {
		r.add(e)
	}
	return r, entries, nil
}

func absent(kind, repository, name string) error {
	return fmt.Errorf("%s %s of repository %s: %w", kind, name, repository, registry.ErrNotFound)
}

// Manifest implements registry.Store.
func (v *Served) Manifest(_ context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	var none ocispec.Descriptor
	r, entries, err := v.reach(repository)
	if err != nil {
		return none, nil, err
	}
	d, ok := entries[reference]
	if !ok {
		d, ok = r.blobs[digest.Digest(reference)]
	}
	if !ok || !registry.IsManifest(d.MediaType) && !registry.IsIndex(d.MediaType) {
		return none, nil, absent("manifest", repository, reference)
	}
	b, err := v.s.readBlob(d, maxManifest)
	if err != nil {
		return none, nil, err
	}
	return describe(d, b), b, nil
}

// describe returns a manifest's descriptor as lists of referrers show it.
func describe(d ocispec.Descriptor, b []byte) ocispec.Descriptor {
	var m struct {
		ArtifactType string              `json:"artifactType"`
		Config       *ocispec.Descriptor `json:"config"`
		Annotations  map[string]string   `json:"annotations"`
	}
	_ = json.Unmarshal(b, &m) // read before
	if m.ArtifactType == "" && m.Config != nil {
		m.ArtifactType = m.Config.MediaType
	}
	return ocispec.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
}

// Blob implements registry.Store.
func (v *Served) Blob(_ context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	if !exists(v.s.pushedPath(repository, d)) {
		r, _, err := v.reach(repository)
		if err != nil {
			return nil, err
		}
		if _, ok := r.blobs[d]; !ok {
			return nil, absent("blob", repository, d.String())
		}
	}
	f, err := v.s.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Tags implements registry.Store.
func (v *Served) Tags(_ context.Context, repository string) ([]string, error) {
	_, entries, err := v.reach(repository)
	if err != nil {
		return nil, err
	}
	tags := []string{}
	for name := range entries {
		if !strings.Contains(name, ":") {
			tags = append(tags, name)
		}
	}
	slices.Sort(tags)
	if len(entries) > 0 {
		return tags, nil
	}
	pushed, err := v.s.pushed()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(pushed, func(p pushedBlob) bool { return p.Repository == repository }) {
		return tags, nil
	}
	return nil, absent("name", repository, "")
}

// Referrers implements registry.ReferrerLister.
func (v *Served) Referrers(ctx context.Context, repository string, of digest.Digest) ([]ocispec.Descriptor, error) {
	r, _, err := v.reach(repository)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, id := range r.order {
		d := r.blobs[id]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !registry.IsManifest(d.MediaType) && !registry.IsIndex(d.MediaType) {
			continue
		}
		b, err := v.s.readBlob(d, maxManifest)
		if err != nil {
			return nil, err
		}
		var m struct {
			Subject *ocispec.Descriptor `json:"subject"`
		}
		if json.Unmarshal(b, &m) == nil && m.Subject != nil && m.Subject.Digest == of {
			all = append(all, describe(d, b))
		}
	}
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return all, nil
}

// PutManifest implements registry.ManifestPutter. Without tags the manifest is named by its digest.
func (v *Served) PutManifest(ctx context.Context, repository string, m *registry.StoredManifest) (err error) {
	d := ocispec.Descriptor{MediaType: m.Descriptor.MediaType, Digest: m.Descriptor.Digest, Size: m.Descriptor.Size}
	names := make([]string, 0, len(m.Tags)+1)
	for _, reference := range append(slices.Clone(m.Tags), d.Digest.String()) {
		if len(m.Tags) > 0 && strings.Contains(reference, ":") {
			break
		}
		name, err := v.name(repository, reference)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	l, err := v.s.lease(ctx, leaseFile{Blobs: []digest.Digest{d.Digest}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	if _, err := v.s.putBlob(d, m.Content); err != nil {
		return err
	}
	if err := v.s.syncBlobs(); err != nil {
		return err
	}
	var r *reach
	err = v.s.update(ctx, func(x *ocispec.Index) (changed bool, err error) {
		// Under the lock, so that nothing that it refers to is pruned behind the look.
		r = v.s.newReach()
		r.add(d)
		if len(r.errs) > 0 {
			return false, &registry.Error{Status: 400, Code: registry.CodeManifestInvalid, Message: "the manifest, or what it " +
				"refers to, is not what this store takes: " + r.errs[0].Error()}
		}
		for _, name := range names {
			changed = setName(x, name, d) || changed
		}
		return changed, nil
	})
	if err == nil {
		err = v.led(repository, r)
	}
	return err
}

// led forgets that a manifest was yet to come, of what it leads to now.
func (v *Served) led(repository string, r *reach) error {
	var err error
	for d := range r.blobs {
		err = errors.Join(err, removeIfThere(v.s.pushedPath(repository, d)))
	}
	return err
}

// DeleteManifest implements registry.Deleter.
func (v *Served) DeleteManifest(ctx context.Context, repository string, d digest.Digest) error {
	return v.s.update(ctx, func(x *ocispec.Index) (bool, error) {
		entries, err := v.entries(x, repository)
		if err != nil {
			return false, err
		}
		changed := false
		for reference, e := range entries {
			if e.Digest != d {
				continue
			}
			name, err := v.name(repository, reference)
			if err != nil {
				return false, err
			}
			dropName(x, name)
			changed = true
		}
		if !changed {
			return false, absent("manifest", repository, d.String())
		}
		return true, nil
	})
}

// DeleteTag implements registry.Deleter. The manifest keeps a name by its digest.
func (v *Served) DeleteTag(ctx context.Context, repository, tag string) error {
	return v.s.update(ctx, func(x *ocispec.Index) (bool, error) {
		entries, err := v.entries(x, repository)
		if err != nil {
			return false, err
		}
		e, ok := entries[tag]
		if !ok {
			return false, absent("tag", repository, tag)
		}
		name, err := v.name(repository, tag)
		if err != nil {
			return false, err
		}
		byDigest, err := v.name(repository, e.Digest.String())
		if err != nil {
			return false, err
		}
		dropName(x, name)
		setName(x, byDigest, e)
		return true, nil
	})
}

// DeleteBlob implements registry.Deleter, for a blob that no manifest leads to yet: the others are the images'.
func (v *Served) DeleteBlob(_ context.Context, repository string, d digest.Digest) error {
	if err := os.Remove(v.s.pushedPath(repository, d)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r, _, err := v.reach(repository)
	if err != nil {
		return err
	}
	if _, ok := r.blobs[d]; ok {
		return fmt.Errorf("blob %s belongs to an image: %w", d, errors.ErrUnsupported)
	}
	return absent("blob", repository, d.String())
}

// Usage implements registry.UsageReporter.
func (v *Served) Usage(_ context.Context, repository string) (int64, error) {
	r, _, err := v.reach(repository)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, d := range r.blobs {
		sum += d.Size
	}
	pushed, err := v.s.pushed()
	if err != nil {
		return 0, err
	}
	for _, p := range pushed {
		if _, ok := r.blobs[p.Digest]; ok || p.Repository != repository {
			continue
		}
		fi, err := os.Lstat(v.s.blobPath(p.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += fi.Size()
	}
	uploads, err := v.uploads.Usage(repository)
	return sum + uploads, err
}
