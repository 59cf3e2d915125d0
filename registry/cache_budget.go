package registry

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// DefaultCacheSize is what a CacheStore's zero MaxSize means, in bytes.
const DefaultCacheSize = 20 << 30

// A Shrinker is a Store that can forget what was read least recently. A CacheStore needs it to keep to its MaxSize.
type Shrinker interface {
	// Shrink removes content, of all repositories, until at most size bytes are left, beginning with what was read or
	// added longest ago; it returns how many are left. Uploads under way are not looked at.
	Shrink(ctx context.Context, size int64) (left int64, err error)
}

// A budget is what a cache may hold yet.
type budget struct {
	mu      sync.Mutex
	known   bool
	used    int64 // of content, and of what is on its way
	pending int64 // of what is on its way
}

func (s *CacheStore) maxSize() int64 { return or(s.MaxSize, DefaultCacheSize) }

// reserve makes room for size bytes. Release must be called when they are there, or will not be.
func (s *CacheStore) reserve(ctx context.Context, size int64) (release func(kept bool), err error) {
	limit := s.maxSize()
	shrinker, ok := s.Keep.(Shrinker)
	if limit < 0 || !ok {
		return func(bool) {}, nil
	}
	b := &s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if size > limit-b.pending {
		return nil, newAnswer(http.StatusBadGateway, CodeUnsupported,
			fmt.Sprintf("the content has %d bytes, which this cache of %d has no room for now", size, limit))
	}
	if !b.known || b.used > limit-size {
		// Some more than needed, so that not each addition has to look for what to remove.
		left, err := shrinker.Shrink(ctx, max(0, min(limit-limit/10, limit-size-b.pending)))
		if err != nil {
			return nil, err
		}
		b.known, b.used = true, left+b.pending
	}
	b.used += size
	b.pending += size
	return func(kept bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.pending -= size
		if !kept {
			b.used -= size
		}
	}, nil
}
