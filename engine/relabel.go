package engine

import (
	"context"
	"errors"

	"github.com/caisson-engine/caisson/volume"
)

// relabel gives the files of binds and volumes the context by which the container may use them, where that is asked for.
func (r *Run) relabel(ctx context.Context) error {
	own := r.record.Config.MountLabel
	if own == "" {
		return nil
	}
	for _, m := range r.record.Mounts {
		label, path := own, m.Source
		switch m.Relabel {
		case "":
			continue
		case "z":
			label = volume.SharedContext(own)
		}
		if m.Type == "volume" {
			v, err := r.e.volumes.Get(m.Source)
			if err == nil {
				path, err = v.Folder()
			}
			if errors.Is(err, errors.ErrUnsupported) {
				continue // what is no folder of the host has no contexts of its own, or gets the container's when it is mounted
			}
			if err != nil {
				return volumeError(m.Source, "", err)
			}
		}
		if err := volume.Relabel(ctx, path, label); err != nil {
			return err
		}
	}
	return nil
}
