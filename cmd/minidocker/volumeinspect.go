package main

import (
	"time"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/volume"
)

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
	return volumeDocument{
		CreatedAt: v.Created.UTC().Format(time.RFC3339), Driver: "local", Labels: engine.VolumeLabels(v), Name: v.Name,
		Options: engine.DriverOptions(v), Scope: "local", Mountpoint: v.Path,
	}
}
