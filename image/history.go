package image

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// A HistoryEntry is a step by which an image was made, by its own word.
type HistoryEntry struct {
	// ID is the image's for the last step, "" for all others: what an image was before has no ID.
	ID digest.Digest

	// Created is the zero time when the image does not say.
	Created            time.Time
	CreatedBy, Comment string
	Author             string

	// DiffID is of the layer that the step added, "" for a step that added none.
	DiffID digest.Digest

	// Size of that layer in bytes, as Image.Size; 0 when it is not extracted.
	Size int64
}

// History returns the steps by which the image was made, the last one first. An image that tells fewer than it has layers
// gets a step for each of the rest, the lowest ones.
func (i *Image) History() []HistoryEntry {
	var list []HistoryEntry
	adds := 0
	for _, h := range i.Config.History {
		if !h.EmptyLayer {
			adds++
		}
	}
	layers := i.Config.RootFS.DiffIDs
	next := 0
	add := func(e HistoryEntry, empty bool) {
		if !empty && next < len(layers) {
			e.DiffID = layers[next]
			if next < len(i.Layers) {
				e.Size = i.Layers[next].Size
			}
			next++
		}
		list = append(list, e)
	}
	for range len(layers) - adds {
		add(HistoryEntry{}, false)
	}
	for _, h := range i.Config.History {
		e := HistoryEntry{CreatedBy: h.CreatedBy, Comment: h.Comment, Author: h.Author}
		if h.Created != nil {
			e.Created = *h.Created
		}
		add(e, h.EmptyLayer)
	}
	for a, b := 0, len(list)-1; a < b; a, b = a+1, b-1 {
		list[a], list[b] = list[b], list[a]
	}
	if len(list) > 0 {
		list[0].ID = i.ID
	}
	return list
}
