package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/caisson-engine/caisson/internal/diskusage"
	"github.com/caisson-engine/caisson/volume"
)

// VolumeOptions reads how a volume is made as docker volume create gives it: the driver, labels as "name=value", and options of the
// driver "local" as "name=value": size ("10G"), or type, o and device; see [volume.NewMount].
func VolumeOptions(driver string, labels, options []string) (*volume.CreateOptions, error) {
	if driver != "" && driver != "local" {
		return nil, &Error{Kind: Invalid, Message: "error looking up volume plugin " + driver + ": plugin not found", Err: volume.ErrDriver}
	}
	o := &volume.CreateOptions{Labels: pairs(labels), Options: pairs(options)}
	for _, name := range slices.Sorted(maps.Keys(o.Options)) {
		switch value := o.Options[name]; name {
		case "size":
			size, err := units.RAMInBytes(value)
			if err != nil || size <= 0 {
				return nil, invalid("invalid size: '%s'", value)
			}
			o.Size = size
		case "type", "o", "device":
		default:
			return nil, invalid("invalid option: %q", name)
		}
	}
	var err error
	if o.Mount, err = volume.NewMount(o.Options["type"], o.Options["o"], o.Options["device"]); err != nil {
		return nil, &Error{Kind: Invalid, Message: "volume", Err: err}
	}
	return o, nil
}

// AnonymousVolume is the label by which Docker tells the volumes whose names nobody chose.
const AnonymousVolume = "com.docker.volume.anonymous"

// VolumeLabels returns the volume's labels as Docker shows them, [AnonymousVolume] among them where it holds; nil for none.
func VolumeLabels(v *volume.Volume) map[string]string {
	if !v.Anonymous {
		return v.Labels
	}
	labels := maps.Clone(v.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[AnonymousVolume] = ""
	return labels
}

// DriverOptions returns the options of the driver "local" that a volume was made with, as they were written or else as [VolumeOptions]
// reads them; nil for none.
func DriverOptions(v *volume.Volume) map[string]string {
	if v.Options != nil {
		return v.Options
	}
	var options map[string]string
	if v.Size > 0 {
		options = map[string]string{"size": strconv.FormatInt(v.Size, 10)}
	}
	if m := v.Mount; m != nil {
		options = map[string]string{"type": m.Type, "device": m.Device}
		o := m.Options
		if m.Type == "bind" {
			options["type"], o = "none", strings.TrimSuffix("bind,"+o, ",")
		}
		if o != "" {
			options["o"] = o
		}
	}
	return options
}

// pairs returns nil for none.
func pairs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, p := range list {
		name, value, _ := strings.Cut(p, "=")
		m[name] = value
	}
	return m
}

// mountsOf returns the binds and volumes of other containers.
func (e *Engine) mountsOf(ctx context.Context, refs []string) (all []Mount, err error) {
	for _, ref := range refs {
		name, mode, given := strings.Cut(ref, ":")
		if given && mode != "ro" && mode != "rw" {
			return nil, invalid("invalid mode for volumes-from: %s", mode)
		}
		c, err := e.Inspect(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, m := range c.Mounts {
			if m.Type != "bind" && m.Type != "volume" {
				continue
			}
			m.ReadOnly = m.ReadOnly || mode == "ro"
			m.NoCopy = m.Type == "volume" // it is as the other one has it
			all = append(all, m)
		}
	}
	return all, nil
}

// VolumeSize returns what a volume takes on disk, in bytes, as du(1) counts.
func (e *Engine) VolumeSize(ctx context.Context, name string) (int64, error) {
	if err := volume.CheckName(name); err != nil {
		return 0, err
	}
	var m diskusage.Meter
	return m.Tree(ctx, e.volumes.Kept(name))
}
