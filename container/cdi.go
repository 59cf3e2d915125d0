package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/word"
	"github.com/caisson-engine/caisson/namespace"
)

// CDI are the devices that the host describes by files of the Container Device Interface, versions 0.3 to 1.1: graphics cards
// and the like, each with the nodes, mounts and variables that programs need to use it. Files in YAML are not read, since
// that would link a module of ten thousand lines: the tools that make them write JSON too (nvidia-ctk --format=json).
type CDI struct {
	devices map[string]cdiDevice
	skipped []string // files in YAML
}

// A cdiDevice is one device with what its file says for all.
type cdiDevice struct {
	file   string
	common *cdiEdits
	own    *cdiEdits
}

type cdiFile struct {
	Version     string            `json:"cdiVersion"`
	Kind        string            `json:"kind"`
	Annotations map[string]string `json:"annotations"`
	Devices     []struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
		Edits       cdiEdits          `json:"containerEdits"`
	} `json:"devices"`
	Edits cdiEdits `json:"containerEdits"`
}

type cdiEdits struct {
	Env            []string          `json:"env"`
	Nodes          []cdiNode         `json:"deviceNodes"`
	Mounts         []cdiMount        `json:"mounts"`
	Hooks          []json.RawMessage `json:"hooks"`
	IntelRdt       json.RawMessage   `json:"intelRdt"`
	NetDevices     []json.RawMessage `json:"netDevices"`
	AdditionalGIDs []uint32          `json:"additionalGids"`
}

type cdiNode struct {
	Path        string       `json:"path"`
	HostPath    string       `json:"hostPath"`
	Type        string       `json:"type"`
	Major       int64        `json:"major"`
	Minor       int64        `json:"minor"`
	FileMode    *os.FileMode `json:"fileMode"`
	Permissions string       `json:"permissions"`
	UID         *uint32      `json:"uid"`
	GID         *uint32      `json:"gid"`
}

type cdiMount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Type          string   `json:"type"`
	Options       []string `json:"options"`
}

// The folders in which CDI files are by default; a device in a later folder takes the place of one in an earlier.
const (
	CDIDir        = "/etc/cdi"
	CDIDynamicDir = "/var/run/cdi"
)

const maxCDIFile = 4 << 20

// LoadCDI reads the CDI files of the folders, or of [CDIDir] and [CDIDynamicDir] if none are given. A folder that is not
// there has none. A file with an error, a field that CDI has not, or a device that another file of the folder has too, is an
// error that names it.
func LoadCDI(dirs ...string) (*CDI, error) {
	if len(dirs) == 0 {
		dirs = []string{CDIDir, CDIDynamicDir}
	}
	c := &CDI{devices: make(map[string]cdiDevice)}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load CDI devices: %w", err)
		}
		here := make(map[string]bool)
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			switch filepath.Ext(name) {
			case ".yaml", ".yml":
				c.skipped = append(c.skipped, name)
			case ".json":
				if err := c.load(name, here); err != nil {
					return nil, fmt.Errorf("load CDI devices: %s: %w", name, err)
				}
			}
		}
	}
	return c, nil
}

func (c *CDI) load(name string, here map[string]bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCDIFile+1))
	if err != nil {
		return err
	}
	file, err := parseCDI(b)
	if err != nil {
		return err
	}
	for i := range file.Devices {
		d := &file.Devices[i]
		full := file.Kind + "=" + d.Name
		if here[full] {
			return fmt.Errorf("devices[%d].name: %s is described twice", i, full)
		}
		here[full] = true
		c.devices[full] = cdiDevice{name, &file.Edits, &d.Edits}
	}
	return nil
}

// cdiKind says whether s is a vendor, a slash and a class.
func cdiKind(s string) bool {
	vendor, class, _ := strings.Cut(s, "/")
	return word.Is(vendor, "", "_.-") && !word.Number(vendor[:1]) && word.Is(class, "", "_-") && !word.Number(class[:1])
}

func cdiName(s string) bool { return word.Is(s, "", "_.:-") }

// cdiVersion says whether s is from 0.3.0 to 1.1.
func cdiVersion(s string) bool {
	i := strings.LastIndexByte(s, '.')
	return i >= 0 && word.Number(s[i+1:]) && slices.Contains([]string{"0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0", "1.1"}, s[:i])
}

// parseCDI reads a file and checks its names.
func parseCDI(b []byte) (*cdiFile, error) {
	if len(b) > maxCDIFile {
		return nil, fmt.Errorf("larger than %d bytes", maxCDIFile)
	}
	var file cdiFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	switch {
	case !cdiVersion(file.Version):
		return nil, fmt.Errorf("cdiVersion: %q is not from 0.3.0 to 1.1: %w", file.Version, errors.ErrUnsupported)
	case !cdiKind(file.Kind):
		return nil, fmt.Errorf("kind: %q is not of the form vendor.com/class", file.Kind)
	}
	for i, d := range file.Devices {
		if !cdiName(d.Name) {
			return nil, fmt.Errorf("devices[%d].name: %q is no name of a device", i, d.Name)
		}
	}
	return &file, nil
}

// Devices returns the names of the devices, "vendor.com/class=name", sorted.
func (c *CDI) Devices() []string {
	var names []string
	for name := range c.devices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// IsCDIName tells whether the name has the form of a CDI device's, "vendor.com/class=name".
func IsCDIName(name string) bool {
	kind, device, ok := strings.Cut(name, "=")
	return ok && cdiKind(kind) && cdiName(device)
}

// Apply gives the container the devices: it adds to its Env, Nodes, DeviceRules, Mounts and Groups. The container is not
// changed if there is an error: a name that is not there satisfies fs.ErrNotExist; hooks, network devices and Intel RDT, which
// are not implemented, errors.ErrUnsupported.
func (c *CDI) Apply(to *Container, names ...string) error {
	var edits []*cdiEdits
	for _, name := range names {
		d, ok := c.devices[name]
		if !ok {
			err := fmt.Errorf("CDI device %s: %w", name, fs.ErrNotExist)
			if len(c.skipped) > 0 {
				err = fmt.Errorf("%w (not read, since they are YAML and not JSON: %s)", err, strings.Join(c.skipped, ", "))
			}
			return err
		}
		for _, e := range []*cdiEdits{d.common, d.own} {
			if slices.Contains(edits, e) {
				continue
			}
			if len(e.Hooks)+len(e.NetDevices)+len(e.IntelRdt) > 0 {
				return fmt.Errorf("CDI device %s: %s has hooks, network devices or Intel RDT: %w", name, d.file, errors.ErrUnsupported)
			}
			edits = append(edits, e)
		}
	}
	try := &Container{Process: Process{Env: slices.Clone(to.Env), Groups: slices.Clone(to.Groups)}, Privileged: to.Privileged,
		Mounts: slices.Clone(to.Mounts), Nodes: slices.Clone(to.Nodes), DeviceRules: slices.Clone(to.DeviceRules)}
	for _, e := range edits {
		if err := e.apply(try); err != nil {
			return fmt.Errorf("CDI devices %s: %w", strings.Join(names, ", "), err)
		}
	}
	to.Env, to.Groups, to.Mounts, to.Nodes, to.DeviceRules = try.Env, try.Groups, try.Mounts, try.Nodes, try.DeviceRules
	return nil
}

func (e *cdiEdits) apply(to *Container) error {
	to.Env = append(to.Env, e.Env...)
	for _, gid := range e.AdditionalGIDs {
		if g := fmt.Sprint(gid); gid != 0 && !slices.Contains(to.Groups, g) {
			to.Groups = append(to.Groups, g)
		}
	}
	for _, m := range e.Mounts {
		mount := Mount{Type: m.Type, Source: m.HostPath, Target: m.ContainerPath}
		if err := mount.SetOptions(m.Options...); err != nil {
			return err
		}
		if mount.Type == "" {
			mount.Type = "bind"
		}
		to.Mounts = append(to.Mounts, mount)
	}
	for _, n := range e.Nodes {
		if err := n.apply(to); err != nil {
			return err
		}
	}
	return nil
}

// apply adds a node; what the file does not say is as the host has it.
func (n *cdiNode) apply(to *Container) error {
	d := specs.LinuxDevice{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, FileMode: n.FileMode, UID: n.UID, GID: n.GID}
	if n.Type == "" || n.Type != "p" && n.Major == 0 && n.Minor == 0 {
		host := n.HostPath
		if host == "" {
			host = n.Path
		}
		have, err := namespace.DeviceAt(host)
		if err != nil {
			return err
		}
		d.Type, d.Major, d.Minor = "c", int64(have.Major), int64(have.Minor)
		if have.Block {
			d.Type = "b"
		}
		if d.FileMode == nil {
			d.FileMode = &have.Mode
		}
	}
	if strings.Trim(n.Permissions, "rwm") != "" {
		return fmt.Errorf("deviceNodes: permissions %q of %s have other letters than r, w and m", n.Permissions, n.Path)
	}
	to.Nodes = append(to.Nodes, d)
	if d.Type != "p" && !to.Privileged {
		kind := byte('c')
		if d.Type == "b" {
			kind = 'b'
		}
		to.DeviceRules = append(to.DeviceRules, cgroups.DeviceRule{Allow: true, Type: kind, Major: d.Major, Minor: d.Minor,
			Access: n.Permissions})
	}
	return nil
}
