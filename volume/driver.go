package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Mount is what a volume is in place of a folder of the store: what the options "type", "o" and "device" of Docker's driver "local"
// say. An image's content is not copied into it.
type Mount struct {
	// Type is "bind", a folder of the host, or "tmpfs", a file system in memory, which is empty at each start of a container and which
	// each has for itself.
	Type string `json:"type"`
	// Device is the folder of a bind. It need not be there before a container starts.
	Device string `json:"device"`
	// Options are separated by commas: "ro" of a bind, those of docker run's --tmpfs of a tmpfs.
	Options string `json:"options,omitempty"`
}

// ErrDriver is returned by Create for a driver other than "local". It satisfies errors.ErrUnsupported.
var ErrDriver error = &sentinel{"volume plugins are not implemented: local is the only driver", errors.ErrUnsupported}

// NewMount makes a Mount of the options of Docker's driver "local", and nil of none. Other types than "none" with the option "bind", and
// "tmpfs", are an error that satisfies errors.ErrUnsupported.
func NewMount(kind, options, device string) (*Mount, error) {
	if kind == "" && options == "" && device == "" {
		return nil, nil
	}
	for name, value := range map[string]string{"type": kind, "device": device} {
		if value == "" {
			return nil, fmt.Errorf("missing required option: %q: %w", name, fs.ErrInvalid)
		}
	}
	list := strings.Split(options, ",")
	bind := slices.ContainsFunc(list, isBind)
	switch {
	case bind && (kind == "none" || kind == "bind"):
		m := &Mount{Type: "bind", Device: device, Options: strings.Join(slices.DeleteFunc(list, isBind), ",")}
		return m, m.check()
	case kind == "tmpfs":
		m := &Mount{Type: kind, Device: device, Options: options}
		return m, m.check()
	}
	lacks := ""
	if known, err := os.ReadFile("/proc/filesystems"); err == nil && !slices.Contains(strings.Fields(string(known)), kind) && kind != "none" {
		lacks = ", and this kernel has no file system " + kind + " by now"
	}
	return nil, fmt.Errorf(`type %q with options %q: "none" with the option "bind", and "tmpfs", are there: mount it on the host and bind it%s: %w`,
		kind, options, lacks, errors.ErrUnsupported)
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
		return fmt.Errorf(`type %q is neither "bind" nor "tmpfs": %w`, m.Type, fs.ErrInvalid)
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

// Folder returns the folder with the content on the host. A volume in memory has none.
func (v *Volume) Folder() (string, error) {
	if v.Mount != nil && v.Mount.Type == "tmpfs" {
		return "", fmt.Errorf("volume %s: %w", v.Name, errInMemory)
	}
	return v.Path, nil
}
