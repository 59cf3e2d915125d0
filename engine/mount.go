package engine

import (
	"encoding/csv"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func (m *Mount) check() error {
	if !path.IsAbs(m.Target) {
		return invalid("invalid mount path: '%s' mount path must be absolute", m.Target)
	}
	if path.Clean(m.Target) == "/" {
		return invalid("invalid mount path: '%s' destination can't be '/'", m.Target)
	}
	switch m.Type {
	case "bind":
		if !path.IsAbs(m.Source) {
			return invalid("invalid mount path: '%s' mount source path must be absolute", m.Source)
		}
		if _, ok := propagations[m.Propagation]; !ok {
			return invalid("invalid mount config for type \"bind\": invalid propagation mode: %s", m.Propagation)
		}
		if !slices.Contains([]string{"", "enabled", "disabled", "writable", "readonly"}, m.Recursive) {
			return invalid("invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", m.Recursive)
		}
		if (m.Recursive == "writable" || m.Recursive == "readonly") && !m.ReadOnly {
			return invalid("option 'bind-recursive=%s' requires 'readonly' to be specified in conjunction", m.Recursive)
		}
		if m.NoCopy || m.Options != "" {
			return invalid("a bind at %s takes neither nocopy nor tmpfs options", m.Target)
		}
	case "volume":
		if m.MakeSource || m.Options != "" {
			return invalid("a volume at %s takes no options of binds and tmpfs", m.Target)
		}
	case "image":
		if m.Source == "" {
			return invalid("invalid mount config for type \"image\": field Source must not be empty")
		}
		if m.MakeSource || m.NoCopy || m.Options != "" {
			return invalid("an image at %s takes no options of binds, volumes and tmpfs", m.Target)
		}
	case "tmpfs":
		if m.Source != "" || m.MakeSource || m.NoCopy {
			return invalid("a tmpfs at %s takes no source", m.Target)
		}
	default:
		return invalid("invalid mount type %q", m.Type)
	}
	if m.Subpath != "" {
		if m.Type != "volume" && m.Type != "image" {
			return invalid("a %s at %s takes no subpath", m.Type, m.Target)
		}
		if !filepath.IsLocal(m.Subpath) {
			return invalid("invalid subpath %q: it must be a relative path within the %s", m.Subpath, m.Type)
		}
	}
	if !slices.Contains([]string{"", "z", "Z"}, m.Relabel) {
		return invalid("invalid mode for SELinux: %s (z and Z are there)", m.Relabel)
	}
	if m.Relabel != "" && m.Type != "bind" && m.Type != "volume" {
		return invalid("a %s at %s takes no mode %s", m.Type, m.Target, m.Relabel)
	}
	if m.Type != "volume" && m.Create != nil {
		return invalid("a %s at %s takes no labels and options of a volume", m.Type, m.Target)
	}
	if m.Recursive == "readonly" && !slices.Contains([]string{"", "private", "rprivate"}, m.Propagation) {
		return invalid("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
	}
	if m.Type != "bind" && m.Propagation+m.Recursive != "" {
		return invalid("a %s at %s takes neither bind-propagation nor bind-recursive", m.Type, m.Target)
	}
	return nil
}

var propagations = map[string]namespace.Propagation{
	"": namespace.Private, "private": namespace.Private, "rprivate": namespace.Private, "slave": namespace.Slave,
	"rslave": namespace.Slave, "shared": namespace.Shared, "rshared": namespace.Shared, "unbindable": namespace.Unbindable,
	"runbindable": namespace.Unbindable,
}

// flags puts what the mount allows into the container's.
func (m *Mount) flags(to *container.Mount) {
	if m.Type == "bind" {
		to.Propagation, to.Recursive = propagations[m.Propagation], m.Recursive != "disabled"
	}
	switch {
	case m.ReadOnly && m.Recursive == "writable":
		to.TopFlags |= container.ReadOnly
	case m.ReadOnly:
		to.Flags |= container.ReadOnly
	}
}

// ParseVolume reads a mount as docker run's -v gives it: "/target", "volume:/target" or "/source:/target", the latter two
// with ":" and options behind, comma-separated: ro, rw, nocopy, a kind of propagation. A source that begins with "./" or "../" is
// relative to the program's folder. A bind's missing source is made. z and Z are Mount.Relabel.
func ParseVolume(spec string) (Mount, error) {
	parts := strings.Split(spec, ":")
	m := Mount{Type: "volume"}
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2, 3:
		m.Source, m.Target = parts[0], parts[1]
		if m.Source == "" {
			return m, invalid("invalid volume specification: '%s'", spec)
		}
		if m.Source == "." || m.Source == ".." || strings.HasPrefix(m.Source, "./") || strings.HasPrefix(m.Source, "../") {
			here, err := filepath.Abs(m.Source)
			if err != nil {
				return m, err
			}
			m.Source = here
		}
		if path.IsAbs(m.Source) {
			m.Type, m.MakeSource = "bind", true
			m.Source = path.Clean(m.Source)
		} else if strings.ContainsAny(m.Source, "/\\") {
			return m, invalid("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" "+
				"are allowed. If you intended to pass a host directory, use absolute path", m.Source)
		}
	default:
		return m, invalid("invalid volume specification: '%s'", spec)
	}
	if len(parts) == 3 {
		for _, option := range strings.Split(parts[2], ",") {
			switch option {
			case "ro":
				m.ReadOnly = true
			case "rw":
			case "nocopy":
				m.NoCopy = true
			case "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable":
				m.Propagation = option
			case "consistent", "cached", "delegated": // for Docker of macOS; here they are all one
			case "z", "Z":
				m.Relabel = option
			default:
				return m, invalid("invalid mode: %s in '%s' (ro, rw, nocopy and kinds of propagation are there)", option, spec)
			}
		}
	}
	return m, m.check()
}

// ParseMount reads a mount as docker run's --mount gives it: "type=bind,source=/a,target=/b,readonly". The type is volume
// if it is left out.
func ParseMount(spec string) (Mount, error) {
	m := Mount{Type: "volume"}
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return m, invalid("invalid mount %q: %v", spec, err)
	}
	var options, labels, driver []string
	for _, field := range fields {
		key, value, given := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "type":
			m.Type = value
		case "source", "src":
			m.Source = value
		case "target", "dst", "destination":
			m.Target = value
		case "readonly", "ro":
			m.ReadOnly, err = flag(value, given)
		case "bind-propagation":
			m.Propagation = value
		case "bind-recursive":
			m.Recursive = value
		case "bind-nonrecursive":
			var alone bool
			if alone, err = flag(value, given); alone {
				m.Recursive = "disabled"
			}
		case "bind-create-src":
			m.MakeSource, err = flag(value, given)
		case "consistency":
			if !slices.Contains([]string{"default", "consistent", "cached", "delegated"}, value) {
				return m, invalid("invalid value for %s: %s", key, value)
			}
		case "volume-driver":
			if _, err := VolumeOptions(value, nil, nil); err != nil {
				return m, err
			}
		case "volume-opt":
			driver = append(driver, value)
		case "volume-label":
			labels = append(labels, value)
		case "volume-nocopy":
			m.NoCopy, err = flag(value, given)
		case "volume-subpath", "image-subpath":
			if want, _, _ := strings.Cut(key, "-"); m.Type != want {
				return m, invalid("cannot mix '%s' with mount type '%s'", key, m.Type)
			}
			m.Subpath = value
		case "tmpfs-size":
			var size int64
			size, err = units.RAMInBytes(value)
			options = append(options, "size="+strconv.FormatInt(size, 10))
		case "tmpfs-mode":
			_, err = strconv.ParseUint(value, 8, 12)
			options = append(options, "mode="+value)
		default:
			return m, invalid("unexpected key '%s' in '%s'", key, spec)
		}
		if err != nil {
			return m, invalid("invalid value for %s: %s", key, value)
		}
	}
	m.Options = strings.Join(options, ",")
	if len(labels)+len(driver) > 0 {
		if m.Create, err = VolumeOptions("", labels, driver); err != nil {
			return m, err
		}
	}
	if m.Type == "bind" && strings.HasPrefix(m.Source, ".") {
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return m, err
		}
	}
	return m, m.check()
}

func flag(value string, given bool) (bool, error) {
	if !given {
		return true, nil
	}
	return strconv.ParseBool(value)
}

// ParseTmpfs reads a mount as docker run's --tmpfs gives it: "/target" or "/target:size=64m,exec".
func ParseTmpfs(spec string) (Mount, error) {
	target, options, _ := strings.Cut(spec, ":")
	m := Mount{Type: "tmpfs", Target: target, Options: options}
	return m, m.check()
}
