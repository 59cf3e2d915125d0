package cgroups

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A mount is a cgroup file system among a process's mounts.
type mount struct {
	unified  bool
	root     string   // the group that is the mount's root, as seen from the cgroup namespace: "/", "/a", "/.."
	point    string   // where it is mounted
	options  []string // of the super block: for v1 the controllers and the name of the hierarchy
	readOnly bool
}

// parseMountinfo returns the cgroup mounts of a file in the format of /proc/<pid>/mountinfo (proc(5)), in its order.
func parseMountinfo(data []byte) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		m, ok, err := parseMount(line)
		if err != nil {
			return nil, fmt.Errorf("mountinfo line %.200q: %w", line, err)
		}
		if ok {
			mounts = append(mounts, m)
		}
	}
	return mounts, nil
}

// parseMount parses one line: id, parent, device, root, mount point, options, optional fields up to a "-", file system
// type, source, options of the super block. ok is false when it is no cgroup file system.
func parseMount(line string) (m mount, ok bool, err error) {
	f := strings.Split(line, " ")
	sep := -1
	if len(f) > 6 {
		sep = slices.Index(f[6:], "-")
	}
	if sep < 0 || len(f) < 6+sep+3 {
		return mount{}, false, errors.New("has too few fields")
	}
	tail := f[6+sep+1:]
	if tail[0] != "cgroup" && tail[0] != "cgroup2" {
		return mount{}, false, nil
	}
	if len(tail) < 3 {
		return mount{}, false, errors.New("has too few fields")
	}
	m = mount{unified: tail[0] == "cgroup2", root: unescape(f[3]), point: unescape(f[4])}
	if !strings.HasPrefix(m.root, "/") || !strings.HasPrefix(m.point, "/") {
		return mount{}, false, errors.New("has a path that is not absolute")
	}
	m.options = strings.Split(tail[len(tail)-1], ",")
	m.readOnly = slices.Contains(strings.Split(f[5], ","), "ro") || slices.Contains(m.options, "ro")
	return m, true, nil
}

// unescape undoes the octal escapes of mountinfo: \040 is a space.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1], '3') && isOctal(s[i+2], '7') && isOctal(s[i+3], '7') {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(c, highest byte) bool { return c >= '0' && c <= highest }
