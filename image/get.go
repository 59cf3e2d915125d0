package image

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// GetOptions are the options of [Store.Get] and [Store.Lookup].
type GetOptions struct {
	// Platform, such as "linux/arm64", chooses among the platforms of an image that were pulled. "" means the one that
	// this program runs on, or else whichever there is. When it is set, an image of another platform is a
	// *PlatformError.
	Platform string
}

// Get returns an image by a name ("alpine", "alpine:3.22@sha256:…"), by a digest of it (of its index, its manifest, or
// its configuration, which is its ID), or by the first four or more digits of its ID where no other image has these; a
// name goes before digits. Layers that are not extracted, since another program put the image into the store, are
// extracted, which ctx bounds. It returns ErrNotFound, ErrAmbiguous or *PlatformError.
func (s *Store) Get(ctx context.Context, ref string, o *GetOptions) (*Image, error) {
	i, err := s.Lookup(ctx, ref, o)
	if err != nil || i.Layers != nil {
		return i, err
	}
	if err := s.unpack(ctx, i); err != nil {
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	return i, nil
}

// Lookup is Get without extracting: Layers is nil when a layer of the image is not extracted.
func (s *Store) Lookup(_ context.Context, ref string, o *GetOptions) (*Image, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var want string
	if o != nil {
		want = o.Platform
	}
	i, err := s.find(x, ref, want)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", ref, err)
	}
	return i, nil
}

// find looks an image up in the order in which Docker does: a whole digest, a name, the beginning of an ID.
func (s *Store) find(x *ocispec.Index, ref, platform string) (*Image, error) {
	want, err := parsePlatform(platform)
	if err != nil {
		return nil, err
	}
	if d, ok := wholeDigest(ref); ok {
		return s.findDigest(x, d, platform, want)
	}
	if d, ok := findName(x, ref); ok {
		list, err := s.loadTarget(d)
		if err != nil {
			return nil, err
		}
		i, err := choose(ref, list, platform, want)
		if err != nil {
			return nil, err
		}
		i.Names = names(x)[d.Digest]
		return i, nil
	}
	digits := strings.TrimPrefix(ref, "sha256:")
	if len(digits) < 4 || len(digits) > 128 || strings.Trim(digits, "0123456789abcdef") != "" {
		return nil, ErrNotFound
	}
	return s.findPrefix(x, digits, platform, want)
}

// wholeDigest reads "sha256:<64 digits>" and "<64 digits>".
func wholeDigest(ref string) (digest.Digest, bool) {
	d := digest.Digest(ref)
	if !strings.Contains(ref, ":") {
		d = digest.NewDigestFromEncoded(digest.SHA256, ref)
	}
	return d, d.Validate() == nil
}

// findName returns the entry of index.json that a name stands for. A name with a digest is also found when the image
// has that digest and another name in the same repository.
func findName(x *ocispec.Index, ref string) (ocispec.Descriptor, bool) {
	r, err := registry.ParseReference(ref)
	name := ref
	if err == nil {
		name = storedName(r)
	}
	if i := namedAt(x, name); i >= 0 {
		return x.Manifests[i], true
	}
	if err != nil || r.Digest == "" {
		return ocispec.Descriptor{}, false
	}
	for _, e := range x.Manifests {
		if n, err := registry.ParseReference(entryName(e)); err == nil && n.Name() == r.Name() && e.Digest == r.Digest {
			return e, true
		}
	}
	return ocispec.Descriptor{}, false
}

func (s *Store) findDigest(x *ocispec.Index, d digest.Digest, platform string, want ocispec.Platform) (*Image, error) {
	var same *Summary
	for _, i := range s.summaries(x) {
		switch d {
		case i.ID, i.Manifest:
			return s.imageOf(i)
		case i.Digest:
			same = i
		}
	}
	if same == nil {
		return nil, ErrNotFound
	}
	return s.chooseOf(string(d), same, platform, want)
}

// chooseOf is choose from the images that have the digest of this one.
func (s *Store) chooseOf(ref string, i *Summary, platform string, want ocispec.Platform) (*Image, error) {
	list, err := s.loadTarget(i.target)
	if err != nil {
		return nil, err
	}
	img, err := choose(ref, list, platform, want)
	if err != nil {
		return nil, err
	}
	img.Names = i.Names
	return img, nil
}

func (s *Store) findPrefix(x *ocispec.Index, digits, platform string, want ocispec.Platform) (*Image, error) {
	var byID, byDigest []*Summary
	for _, i := range s.summaries(x) {
		if strings.HasPrefix(i.ID.Encoded(), digits) {
			byID = append(byID, i)
		}
		if strings.HasPrefix(i.Digest.Encoded(), digits) {
			byDigest = append(byDigest, i)
		}
	}
	if len(byID) > 0 {
		if slices.ContainsFunc(byID, func(i *Summary) bool { return i.ID != byID[0].ID }) {
			return nil, ErrAmbiguous
		}
		return s.imageOf(byID[0])
	}
	if len(byDigest) == 0 {
		return nil, ErrNotFound
	}
	if slices.ContainsFunc(byDigest, func(i *Summary) bool { return i.Digest != byDigest[0].Digest }) {
		return nil, ErrAmbiguous
	}
	return s.chooseOf(digits, byDigest[0], platform, want)
}

// choose returns the image of a list, all of one target, that suits the platform.
func choose(ref string, list []*Image, platform string, want ocispec.Platform) (*Image, error) {
	if i := best(want, list); i != nil {
		return i, nil
	}
	if platform == "" && len(list) > 0 {
		return list[0], nil
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: none of its platforms is in the store", ErrNotFound)
	}
	have := make([]ocispec.Platform, len(list))
	for n, i := range list {
		have[n] = i.Config.Platform
	}
	return nil, newPlatformError(ref, want, have)
}

// all reads every image that index.json leads to, of every platform, and leaves out what is no image or damaged.
func (s *Store) all(x *ocispec.Index) []*Image {
	by, done := names(x), map[digest.Digest]bool{}
	var targets []ocispec.Descriptor
	for _, e := range x.Manifests {
		if !done[e.Digest] {
			done[e.Digest] = true
			targets = append(targets, e)
		}
	}
	view := *s
	view.memo = &layerMemo{known: map[digest.Digest]memoized{}}
	lists := make([][]*Image, len(targets))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(len(targets), 2*runtime.NumCPU()) { // they wait for the disk, too
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(targets)); i = next.Add(1) - 1 {
				list, err := view.loadTarget(targets[i])
				if err != nil {
					continue
				}
				for _, img := range list {
					img.Names = by[targets[i].Digest]
				}
				lists[i] = list
			}
		})
	}
	wg.Wait()
	return slices.Concat(lists...)
}

// A layerMemo keeps what is known of layers, for one call that looks at many images.
type layerMemo struct {
	mu    sync.Mutex
	known map[digest.Digest]memoized
}

type memoized struct {
	layer layer.Layer
	err   error
}

// layer is layer.Store.Get.
func (s *Store) layer(d digest.Digest) (layer.Layer, error) {
	if s.memo == nil {
		return s.layers.Get(d)
	}
	s.memo.mu.Lock()
	m, ok := s.memo.known[d]
	s.memo.mu.Unlock()
	if !ok { // two may ask the disk for one at once, which does no harm
		m.layer, m.err = s.layers.Get(d)
		s.memo.mu.Lock()
		s.memo.known[d] = m
		s.memo.mu.Unlock()
	}
	return m.layer, m.err
}

// names returns the names that stand for each digest, sorted.
func names(x *ocispec.Index) map[digest.Digest][]string {
	at := map[string]int{} // as namedAt finds them
	for i, e := range x.Manifests {
		n := entryName(e)
		if old, ok := at[n]; n != "" && (!ok || !ownSpelling(e) || ownSpelling(x.Manifests[old])) {
			at[n] = i
		}
	}
	by := map[digest.Digest][]string{}
	for n, i := range at {
		by[x.Manifests[i].Digest] = append(by[x.Manifests[i].Digest], n)
	}
	for _, list := range by {
		slices.Sort(list)
	}
	return by
}

// List returns the images of the store, one for each digest that names stand for or stood for, the newest first, without those that
// are nothing but steps of builds. Of a multi-platform image it returns the one that suits this program's platform best. What is no image, such as a
// signature that another program put there, is left out, and so is what is damaged: Check reports that. Where a [Summary]
// suffices, Search is faster.
func (s *Store) List(ctx context.Context) ([]*Image, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	want, err := parsePlatform("")
	if err != nil {
		return nil, errors.Join(errors.New("list images"), err)
	}
	steps := hidden(x)
	x.Manifests = slices.DeleteFunc(x.Manifests, func(e ocispec.Descriptor) bool { return steps[e.Digest] })
	list := onePerDigest(s.all(x), func(i *Image) (digest.Digest, int) { return i.Digest, rank(want, i.Config.Platform) })
	slices.SortStableFunc(list, func(a, b *Image) int { return b.Created.Compare(a.Created) })
	return list, nil
}
