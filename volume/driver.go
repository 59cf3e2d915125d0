package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// A Mount is what a volume is in place of a folder of the store: what the options "type", "o" and "device" of Docker's driver "local"
// say. An image's content is not copied into it.
type Mount struct {
	// Type is "bind", a folder of the host, or "tmpfs", a file system in memory, which is empty at each start of a container and which
	// each has for itself, or another file system of the kernel's, such as "nfs", "cifs" or "ext4", which [Use.Mount] mounts.
	Type string `json:"type"`
	// Device is the folder of a bind, or what the file system is on: ":/export", "/dev/sdb". It need not be there before a container starts.
	Device string `json:"device"`
	// Options are separated by commas: "ro" of a bind, those of docker run's --tmpfs of a tmpfs, and the kernel's own of another file system.
	Options string `json:"options,omitempty"`
}

// ErrDriver is returned by Create for a driver other than "local". It satisfies errors.ErrUnsupported.
var ErrDriver error = &sentinel{"volume plugins are not implemented: local is the only driver", errors.ErrUnsupported}

// NewMount makes a Mount of the options of Docker's driver "local", and nil of none. What the kernel makes of them is seen when the volume
// is mounted.
func NewMount(kind, options, device string) (*Mount, error) {
	if kind == "" && options == "" && device == "" {
		return nil, nil
	}
	for name, value := range map[string]string{"type": kind, "device": device} {
		if value == "" {
			return nil, fmt.Errorf("missing required option: %q: %w", name, fs.ErrInvalid)
		}
	}
	m := &Mount{Type: kind, Device: device, Options: options}
	if list := strings.Split(options, ","); slices.ContainsFunc(list, isBind) && (kind == "none" || kind == "bind") {
		m.Type, m.Options = "bind", strings.Join(slices.DeleteFunc(list, isBind), ",")
	}
	return m, m.check()
}

func isBind(option string) bool { return option == "bind" || option == "rbind" }

func (m *Mount) check() error {
	switch m.Type {
	case "bind":
		if !filepath.IsAbs(m.Device) {
			return fmt.Errorf("device %q of a bind is no absolute path: %w", m.Device, fs.ErrInvalid)
		}
		for _, o := range strings.Split(m.Options, ",") {
			if !slices.Contains([]string{"", "ro", "rw"}, o) {
				return fmt.Errorf("option %q of a bind: ro and rw are there: %w", o, fs.ErrInvalid)
			}
		}
	case "tmpfs":
		for _, o := range strings.Split(m.Options, ",") {
			name, _, _ := strings.Cut(o, "=")
			if !slices.Contains([]string{"", "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"}, name) {
				return fmt.Errorf("option %q of a tmpfs: %w", o, fs.ErrInvalid)
			}
		}
	default:
		return m.checkForeign()
	}
	return nil
}

// Foreign tells whether it is a file system that is mounted where it is used: neither a bind nor a tmpfs.
func (m *Mount) Foreign() bool { return m != nil && m.Type != "bind" && m.Type != "tmpfs" }

func (m *Mount) checkForeign() error {
	if m.Type == "" || len(m.Type) > 32 || strings.ContainsFunc(m.Type, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	}) {
		return fmt.Errorf("type %q is no file system's name: %w", m.Type, fs.ErrInvalid)
	}
	if m.Type == "none" {
		return fmt.Errorf(`type "none" without the option "bind": %w`, fs.ErrInvalid)
	}
	if m.Device == "" || strings.ContainsRune(m.Device, 0) {
		return fmt.Errorf("device %q of type %s: %w", m.Device, m.Type, fs.ErrInvalid)
	}
	for _, o := range strings.Split(m.Options, ",") {
		name, _, _ := strings.Cut(o, "=")
		if isBind(name) || name == "remount" || name == "move" || name == "source" || strings.ContainsRune(o, 0) ||
			slices.Contains([]string{"private", "slave", "shared", "unbindable"}, strings.TrimPrefix(name, "r")) {
			return fmt.Errorf("option %q of type %s: %w", o, m.Type, fs.ErrInvalid)
		}
	}
	return nil
}

// ReadOnly tells whether the options say so.
func (m *Mount) ReadOnly() bool { return slices.Contains(strings.Split(m.Options, ","), "ro") }

// checkDriver looks at what says how a volume is kept.
func (o *CreateOptions) checkDriver() error {
	if o.Driver != "" && o.Driver != "local" {
		return fmt.Errorf("driver %s: %w", o.Driver, ErrDriver)
	}
	if o.Mount == nil {
		return nil
	}
	if o.Size != 0 {
		return fmt.Errorf("size of a volume of type %s: %w", o.Mount.Type, errors.ErrUnsupported)
	}
	return o.Mount.check()
}

// errInMemory is of a tmpfs.
var errInMemory = fmt.Errorf("it is in memory, each container's own: %w", errors.ErrUnsupported)

// Folder returns the folder with the content on the host. A volume in memory, or of a file system of its own, has none.
func (v *Volume) Folder() (string, error) {
	if v.Mount.Foreign() {
		return "", fmt.Errorf("volume %s: it is of type %s, and mounted in containers only: %w", v.Name, v.Mount.Type, errors.ErrUnsupported)
	}
	if v.Mount != nil && v.Mount.Type == "tmpfs" {
		return "", fmt.Errorf("volume %s: %w", v.Name, errInMemory)
	}
	return v.Path, nil
}
