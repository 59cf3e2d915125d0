package engine

import (
	"context"

	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/internal/diskusage"
)

// A DiskUsage is what the engine's folder takes on disk, in bytes, as du(1) counts.
type DiskUsage struct {
	Images Usage
	// ByImage is what each image takes, and what of that other images need, too.
	ByImage    []image.ImageUsage
	Containers Usage
	Volumes    Usage
	// Other is what keeps the rest together: networks, locks, what is being deleted.
	Other int64
	// Total is all of it: what du says of the folder.
	Total int64
}

// A Usage is what the things of one kind take.
type Usage struct {
	Total, Active     int   // things; those that containers use, or containers that run
	Size, Reclaimable int64 // bytes; those of what is not active
}

// DiskUsage measures what the engine's folder takes. It looks at every file.
func (e *Engine) DiskUsage(ctx context.Context) (*DiskUsage, error) {
	u := &DiskUsage{}
	images, err := e.ImagesUsage(ctx)
	if err != nil {
		return nil, err
	}
	u.Images, u.ByImage = usageOfImages(images), images.ByImage
	var meter diskusage.Meter
	containers, err := e.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		n, err := meter.Tree(ctx, e.path(c.ID))
		if err != nil {
			return nil, err
		}
		u.Containers.add(n, c.State.Status == Running)
	}
	volumes, err := e.volumes.List()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		n, err := meter.Tree(ctx, e.volumes.Kept(v.Name))
		if err != nil {
			return nil, err
		}
		user, err := e.VolumeUser(v.Name)
		u.Volumes.add(n, err != nil || user != "")
	}
	var all diskusage.Meter
	if u.Total, err = all.Tree(ctx, e.dir); err != nil {
		return nil, err
	}
	u.Other = max(0, u.Total-u.Images.Size-u.Containers.Size-u.Volumes.Size)
	return u, nil
}

func usageOfImages(i *image.DiskUsage) Usage {
	return Usage{Total: i.Images, Active: i.Active, Size: i.Total(), Reclaimable: i.Reclaimable}
}

func (u *Usage) add(size int64, active bool) {
	u.Total++
	u.Size += size
	if active {
		u.Active++
	} else {
		u.Reclaimable += size
	}
}

// ImagesUsage measures what images take, as DiskUsage does.
func (e *Engine) ImagesUsage(ctx context.Context) (*image.DiskUsage, error) {
	return e.images.DiskUsage(ctx, e.imageUser)
}
