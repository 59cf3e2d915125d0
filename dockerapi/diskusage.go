package dockerapi

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/caisson-engine/caisson/engine"
)

// A diskUsage is what is on disk, in the form of versions before 1.52.
type diskUsage struct {
	LayersSize  int64
	Images      []imageSummary
	Containers  []*container.Summary
	Volumes     []volume.Volume
	BuildCache  []build.CacheRecord
	BuilderSize int64 `json:",omitempty"`
}

// getDiskUsage measures what images, containers and volumes take. The build cache is always empty.
func (s *Server) getDiskUsage(w http.ResponseWriter, r *http.Request) error {
	wanted := make(map[system.DiskUsageObject]bool)
	kinds := queryOf(r).Values["type"]
	if len(kinds) == 0 || versionOf(r) < mustVersion("1.42") {
		kinds = []string{"container", "image", "volume", "build-cache"}
	}
	for _, kind := range kinds {
		switch k := system.DiskUsageObject(kind); k {
		case system.ContainerObject, system.ImageObject, system.VolumeObject, system.BuildCacheObject:
			wanted[k] = true
		default:
			return badRequest("unknown object type: %s", kind)
		}
	}
	a := &diskUsage{}
	if wanted[system.BuildCacheObject] {
		a.BuildCache = []build.CacheRecord{}
	}
	containers, err := s.Engine.List(r.Context())
	if err != nil {
		return err
	}
	if wanted[system.ImageObject] {
		if err := s.imageUsage(r, a, containers); err != nil {
			return err
		}
	}
	if wanted[system.VolumeObject] {
		if a.Volumes, err = s.volumeUsage(r.Context(), containers); err != nil {
			return err
		}
	}
	if wanted[system.ContainerObject] {
		if a.Containers, err = s.containerUsage(r.Context(), containers); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, a)
}

func (s *Server) imageUsage(r *http.Request, a *diskUsage, containers []*engine.Container) error {
	u, err := s.Engine.ImagesUsage(r.Context())
	if err != nil {
		return err
	}
	a.LayersSize, a.Images = u.Total(), []imageSummary{}
	for _, i := range u.ByImage {
		sum := summaryOf(i.Image.Summary())
		sum.Size, sum.SharedSize, sum.Containers = i.Shared+i.Unique, i.Shared, 0
		for _, c := range containers {
			if c.ImageID == i.ID {
				sum.Containers++
			}
		}
		if versionOf(r) < mustVersion("1.44") {
			sum.VirtualSize = sum.Size
		}
		a.Images = append(a.Images, sum)
	}
	return nil
}

func (s *Server) volumeUsage(ctx context.Context, containers []*engine.Container) ([]volume.Volume, error) {
	list, err := s.Engine.Volumes().List()
	if err != nil {
		return nil, err
	}
	all := []volume.Volume{}
	for i := range list {
		v := volumeOf(&list[i])
		v.UsageData = &volume.UsageData{}
		if v.UsageData.Size, err = s.Engine.VolumeSize(ctx, v.Name); err != nil {
			return nil, err
		}
		for _, c := range containers {
			for _, m := range c.Mounts {
				if m.Type == "volume" && m.Source == v.Name {
					v.UsageData.RefCount++
				}
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func (s *Server) containerUsage(ctx context.Context, list []*engine.Container) ([]*container.Summary, error) {
	all := []*container.Summary{}
	for _, c := range list {
		size, err := s.Engine.ContainerSize(ctx, c.ID)
		if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		sum := s.summary(c)
		sum.SizeRw = size
		all = append(all, sum)
	}
	return all, nil
}
