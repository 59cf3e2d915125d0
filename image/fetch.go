package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/registry"
)

// A fetcher brings the layers of an image into the store: their blobs, and each extracted.
type fetcher struct {
	s        *Store
	client   *registry.Client // nil: nothing is fetched, what is in the store is extracted
	ref      registry.Reference
	progress *progress
	limits   *layer.ExtractOptions
	parallel int
	out      *writeOut // of the round under way
}

// A work is one layer to bring in.
type work struct {
	blob    ocispec.Descriptor
	diffID  digest.Digest
	in      *ingest        // when it is fetched
	pending *layer.Pending // when it was extracted
	whole   bool           // in's file is all of the blob
	keep    bool           // the rest of in's file is worth keeping
}

// fetch brings in what is missing of an image's layers, and says whether something was.
//
// It goes in rounds. In a round everything is fetched side by side that no other process is fetching, made durable by
// one sync, and named. Then the next round waits for another process, holding nothing that this one could wait for.
func (f *fetcher) fetch(ctx context.Context, img *Image) (fetched bool, err error) {
	todo := f.missing(img)
	for wait := false; len(todo) > 0; wait = true {
		fetched = true
		busy, err := f.round(ctx, todo, wait)
		if err != nil {
			return true, err
		}
		todo = busy
	}
	return fetched, nil
}

// missing lists what is to be done, each blob and each layer once, the largest first.
func (f *fetcher) missing(img *Image) []*work {
	var todo []*work
	blobs, layers := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for i, b := range img.blobs {
		d := img.Config.RootFS.DiffIDs[i]
		f.progress.send(Event{Kind: PullingLayer, Digest: b.Digest})
		if blobs[b.Digest] && layers[d] {
			continue
		}
		blobs[b.Digest], layers[d] = true, true
		if f.present(b, d) {
			f.progress.send(Event{Kind: AlreadyExists, Digest: b.Digest})
			continue
		}
		todo = append(todo, &work{blob: b, diffID: d})
	}
	slices.SortStableFunc(todo, func(a, b *work) int { return cmp.Compare(b.blob.Size, a.blob.Size) })
	return todo
}

func (f *fetcher) present(b ocispec.Descriptor, diffID digest.Digest) bool {
	if !f.s.hasBlob(b) {
		return false
	}
	_, err := f.s.layers.Get(diffID)
	return err == nil
}

// round does what it can of todo, and returns what other processes are busy with. With wait it waits for the first.
func (f *fetcher) round(ctx context.Context, todo []*work, wait bool) (busy []*work, err error) {
	var mine []*work
	defer func() {
		full := errors.Is(err, syscall.ENOSPC)
		if err != nil && !full {
			err = errors.Join(err, f.salvage(ctx, mine))
		}
		for _, w := range mine {
			err = errors.Join(err, w.finish(!full))
		}
	}()
	for _, w := range todo {
		var held bool
		w.in, held, err = f.s.ingest(ctx, w.blob, wait)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", w.blob.Digest, err)
		}
		if held {
			f.progress.send(Event{Kind: Waiting, Digest: w.blob.Digest})
			busy = append(busy, w)
			continue
		}
		mine, wait = append(mine, w), false
	}
	var size int64
	for _, w := range mine {
		size += w.blob.Size
	}
	f.out = newWriteOut(size, f.s.layers.WriteOut)
	defer f.out.wait() // not before commit, whose sync has to wait for them no longer than for the disk
	if err := f.together(ctx, mine); err != nil {
		return nil, err
	}
	if err := f.commit(ctx, mine); err != nil {
		return nil, err
	}
	return busy, nil
}

// together runs the works side by side, as many as may be; the first that fails ends the others.
func (f *fetcher) together(ctx context.Context, list []*work) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer f.out.stop()
	var wg sync.WaitGroup
	slots := make(chan struct{}, f.parallel)
	for _, w := range list {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f.do(ctx, w); err != nil {
				cancel(fmt.Errorf("layer %s: %w", w.blob.Digest, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// commit makes a round's work durable and gives it its names.
func (f *fetcher) commit(ctx context.Context, list []*work) error {
	var pending []*layer.Pending
	var blobs []*work
	for _, w := range list {
		if w.pending != nil {
			pending = append(pending, w.pending)
		}
		if w.in.file != nil {
			blobs = append(blobs, w)
		}
	}
	// The layers' sync takes the blobs along when they are on the same file system.
	if len(pending) == 0 || !sameFileSystem(f.s.dir, f.s.layers.Dir()) {
		for _, w := range blobs {
			if err := w.in.file.Sync(); err != nil {
				return err
			}
		}
	}
	if _, err := f.s.layers.Commit(ctx, pending...); err != nil {
		return err
	}
	for _, w := range blobs {
		if err := w.in.commit(); err != nil {
			return fmt.Errorf("layer %s: %w", w.blob.Digest, err)
		}
	}
	if len(blobs) > 0 {
		if err := f.s.syncBlobs(); err != nil {
			return err
		}
	}
	for _, w := range list {
		f.progress.send(Event{Kind: PullComplete, Digest: w.blob.Digest})
	}
	return nil
}

// salvage puts the layers that are whole into the store, where the next try finds them, when a round failed because the
// connection broke or somebody gave up.
func (f *fetcher) salvage(ctx context.Context, list []*work) error {
	worth := ctx.Err() != nil
	var pending []*layer.Pending
	for _, w := range list {
		worth = worth || w.keep
		if w.pending != nil && w.whole {
			pending = append(pending, w.pending)
		}
	}
	if !worth {
		return nil
	}
	_, err := f.s.layers.Commit(context.WithoutCancel(ctx), pending...)
	return err
}

// finish frees what a work holds, and undoes what did not get its name. What may be of use to the next try stays, if
// keep is set.
func (w *work) finish(keep bool) error {
	var errs []error
	if w.pending != nil {
		errs = append(errs, w.pending.Discard())
	}
	return errors.Join(append(errs, w.in.close(keep && (w.keep || w.whole)))...)
}

// extractOptions are the options for one layer.
func (f *fetcher) extractOptions(w *work) *layer.ExtractOptions {
	var o layer.ExtractOptions
	if f.limits != nil {
		o = *f.limits
	}
	// Docker's tools have written zstd layers under two names.
	o.MediaType = strings.Replace(w.blob.MediaType, "diff.tar+zstd", "diff.tar.zstd", 1)
	o.DiffID = w.diffID
	inflated := o.Inflated
	o.Inflated = func(n int) {
		f.out.extract(n)
		if inflated != nil {
			inflated(n)
		}
	}
	return &o
}
