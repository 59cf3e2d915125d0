package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A CacheStore is a Store that reads through to another registry, and keeps what it read: a Server over it is a mirror
// such as [Client].Mirrors and daemon.json's registry-mirrors name. What a tag stands for is asked of the upstream each
// time, by a HEAD; when that cannot answer, what is kept serves. A blob is fetched whole, once for all who ask at the
// time, verified, and then served. It takes no pushes.
//
// By default it has nothing but what the upstream gives to everybody: the Client's credentials are not used. See Private.
type CacheStore struct {
	// Keep is where to keep content: a *FolderStore or a *MemoryStore.
	Keep interface {
		Store
		UploadStore
		ManifestPutter
	}
	// Client asks the upstream.
	Client *Client
	// Upstream is the registry's host as references name it: "docker.io".
	Upstream string
	// Private fetches with the Client's credentials, and serves what they may read to whoever the Server lets read: then
	// let its Authorize say who that is. What was so fetched is kept apart from what is public, and is never shown when
	// Private is false.
	Private bool
	// MaxSize bounds what is kept, in bytes, by forgetting what was read longest ago. Zero is DefaultCacheSize, negative
	// is no bound. Content that is larger is refused. Keep must be a Shrinker.
	MaxSize int64

	once   sync.Once
	client *Client // what asks
	budget budget

	mu      sync.Mutex
	fetches map[string]*fetching
}

// A fetching is a blob on its way, for all who wait for it.
type fetching struct {
	done chan struct{}
	err  error
}

// ask returns the client that asks the upstream.
func (s *CacheStore) ask() *Client {
	s.once.Do(func() {
		if s.client = s.Client; !s.Private {
			s.client = s.Client.anonymous()
		}
	})
	return s.client
}

// kept is the name under which a repository is kept.
func (s *CacheStore) kept(repository string) string {
	if s.Private {
		return "private/" + repository
	}
	return "public/" + repository
}

// use notes that content was read.
func (s *CacheStore) use(d digest.Digest) {
	if k, ok := s.Keep.(interface{ used(digest.Digest) }); ok {
		k.used(d)
	}
}

func (s *CacheStore) keptManifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	desc, b, err := s.Keep.Manifest(ctx, s.kept(repository), reference)
	if err == nil {
		s.use(desc.Digest)
	}
	return desc, b, err
}

func (s *CacheStore) ref(repository string) Reference {
	return Reference{Host: s.Upstream, Repository: repository}
}

// Manifest implements Store.
func (s *CacheStore) Manifest(ctx context.Context, repository, reference string) (ocispec.Descriptor, []byte, error) {
	ref := s.ref(repository)
	if d := digest.Digest(reference); d.Validate() == nil {
		if desc, b, err := s.keptManifest(ctx, repository, reference); err == nil {
			return desc, b, nil
		}
		ref.Digest = d
		return s.fetchManifest(ctx, ref, nil)
	}
	ref.Tag = reference
	now, err := s.ask().Resolve(ctx, ref)
	if err != nil {
		return s.stale(ctx, repository, reference, err)
	}
	if desc, b, err := s.keptManifest(ctx, repository, reference); err == nil && desc.Digest == now.Digest {
		return desc, b, nil
	}
	desc, b, err := s.fetchManifest(ctx, ref, []string{reference})
	if err != nil {
		return s.stale(ctx, repository, reference, err)
	}
	return desc, b, nil
}

// stale returns what a tag stood for when the upstream last answered, unless it says now that there is none, or that
// it may not be read.
func (s *CacheStore) stale(ctx context.Context, repository, tag string, why error) (ocispec.Descriptor, []byte, error) {
	if !errors.Is(why, fs.ErrNotExist) && !errors.Is(why, fs.ErrPermission) {
		if desc, b, err := s.keptManifest(ctx, repository, tag); err == nil {
			return desc, b, nil
		}
	}
	return ocispec.Descriptor{}, nil, upstreamError(why)
}

// upstreamError is what the client is told: that something is not there, or that the upstream fails. An upstream that
// wants credentials is no reason to ask the client for its own.
func upstreamError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("upstream: %w", ErrNotFound)
	}
	return &Error{Status: http.StatusBadGateway, Code: CodeUnsupported, Message: "the upstream registry fails"}
}

func (s *CacheStore) fetchManifest(ctx context.Context, ref Reference, tags []string) (ocispec.Descriptor, []byte, error) {
	desc, b, err := s.ask().Manifest(ctx, ref)
	if err != nil {
		return desc, nil, upstreamError(err)
	}
	m, _, err := readManifest(desc.MediaType, b)
	if err != nil {
		return desc, nil, upstreamError(err)
	}
	m.Descriptor.Digest, m.Tags = desc.Digest, tags
	release, err := s.reserve(ctx, desc.Size)
	if err != nil {
		return desc, nil, err
	}
	err = s.Keep.PutManifest(ctx, s.kept(ref.Repository), m)
	release(err == nil)
	s.use(desc.Digest)
	return desc, b, err
}

// Blob implements Store.
func (s *CacheStore) Blob(ctx context.Context, repository string, d digest.Digest) (io.ReadSeekCloser, error) {
	b, err := s.Keep.Blob(ctx, s.kept(repository), d)
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 3; try++ { // it may be forgotten again at once
		if err := s.fetchOnce(ctx, repository, d); err != nil {
			return nil, err
		}
		b, err = s.Keep.Blob(ctx, s.kept(repository), d)
	}
	if err == nil {
		s.use(d)
	}
	return b, err
}

// fetchOnce fetches a blob, or waits for whoever does. The fetching goes on when the one who asked first goes away.
func (s *CacheStore) fetchOnce(ctx context.Context, repository string, d digest.Digest) error {
	key := repository + "@" + string(d)
	s.mu.Lock()
	f := s.fetches[key]
	if f == nil {
		f = &fetching{done: make(chan struct{})}
		if s.fetches == nil {
			s.fetches = map[string]*fetching{}
		}
		s.fetches[key] = f
		go func() {
			f.err = s.fetch(context.WithoutCancel(ctx), repository, d)
			s.mu.Lock()
			delete(s.fetches, key)
			s.mu.Unlock()
			close(f.done)
		}()
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *CacheStore) fetch(ctx context.Context, repository string, d digest.Digest) (err error) {
	if b, err := s.Keep.Blob(ctx, s.kept(repository), d); err == nil { // it came since the caller looked
		return b.Close()
	}
	ref := s.ref(repository)
	ref.Digest = d
	desc, err := s.ask().ResolveBlob(ctx, ref)
	if err != nil {
		return upstreamError(err)
	}
	release, err := s.reserve(ctx, desc.Size)
	if err != nil {
		return err
	}
	defer func() { release(err == nil) }()
	r, err := s.ask().Blob(ctx, ref, desc)
	if err != nil {
		return upstreamError(err)
	}
	defer r.Close()
	u, err := s.Keep.NewUpload(ctx, s.kept(repository))
	if err != nil {
		return err
	}
	defer func() {
		if c, ok := s.Keep.(UploadRemover); ok && err != nil {
			_ = c.CancelUpload(ctx, u)
		}
	}()
	if _, err := s.Keep.AppendUpload(ctx, u, 0, r); isFull(err) {
		return err
	} else if err != nil {
		return upstreamError(err)
	}
	if err := s.Keep.CommitUpload(ctx, u, d); err != nil {
		return err
	}
	s.use(d)
	return nil
}

// Tags implements Store: the upstream's, or what is kept when that cannot answer.
func (s *CacheStore) Tags(ctx context.Context, repository string) ([]string, error) {
	tags, err := s.ask().Tags(ctx, s.ref(repository))
	if err == nil {
		return tags, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		if tags, err := s.Keep.Tags(ctx, s.kept(repository)); err == nil {
			return tags, nil
		}
	}
	return nil, upstreamError(err)
}

// Referrers implements ReferrerLister.
func (s *CacheStore) Referrers(ctx context.Context, repository string, d digest.Digest) ([]ocispec.Descriptor, error) {
	ref := s.ref(repository)
	ref.Digest = d
	list, err := s.ask().Referrers(ctx, ref, "")
	if err != nil {
		return nil, upstreamError(err)
	}
	return list, nil
}

// ResolveBlob asks for the size of a blob, by a HEAD: ref's digest is the blob's.
func (c *Client) ResolveBlob(ctx context.Context, ref Reference) (desc ocispec.Descriptor, err error) {
	ref.Tag = ""
	err = c.each(ctx, ref, func(e *endpoint) error {
		q := &request{
			method: http.MethodHead, path: ref.Repository + "/blobs/" + string(ref.Digest),
			subject: "blob " + string(ref.Digest) + " of " + ref.FamiliarName(), scopes: []string{pullScope(ref.Repository)},
		}
		resp, err := c.do(ctx, e, q)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return c.answerError(ctx, e, q, resp)
		}
		drain(resp)
		size, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64)
		if err != nil || size < 0 {
			return describe(e, q, refuse("the registry does not say the blob's size"))
		}
		desc = ocispec.Descriptor{MediaType: "application/octet-stream", Digest: ref.Digest, Size: size}
		return nil
	})
	return desc, err
}
