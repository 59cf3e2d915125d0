package main

import (
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/volume"
)

// anonymousLabel is the label by which Docker tells the volumes whose names nobody chose.
const anonymousLabel = "com.docker.volume.anonymous"

// A volumeDocument is a volume as Docker shows it.
type volumeDocument struct {
	CreatedAt  string // as RFC 3339 has it, in seconds
	Driver     string
	Labels     map[string]string
	Mountpoint string
	Name       string
	Options    map[string]string
	Scope      string
}

// newVolumeDocument describes a volume.
func newVolumeDocument(v *volume.Volume) volumeDocument {
	d := volumeDocument{
		CreatedAt: v.Created.UTC().Format(time.RFC3339), Driver: "local", Labels: v.Labels, Name: v.Name, Options: v.Options, Scope: "local",
		Mountpoint: v.Path,
	}
	if v.Anonymous {
		d.Labels = maps.Clone(v.Labels)
		if d.Labels == nil {
			d.Labels = make(map[string]string)
		}
		d.Labels[anonymousLabel] = ""
	}
	if d.Options != nil {
		return d
	}
	if v.Size > 0 {
		d.Options = map[string]string{"size": strconv.FormatInt(v.Size, 10)}
	}
	if m := v.Mount; m != nil {
		d.Options = map[string]string{"type": m.Type, "device": m.Device}
		options := m.Options
		if m.Type == "bind" {
			d.Options["type"], options = "none", strings.TrimSuffix("bind,"+options, ",")
		}
		if options != "" {
			d.Options["o"] = options
		}
	}
	return d
}
