package container

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// procFiles may be covered by a bind inside /proc: files that lxcfs and its like replace. A mount elsewhere in there
// could hide what the set-up itself relies on (CVE-2019-19921).
var procFiles = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
	"/proc/loadavg", "/proc/slabinfo", "/proc/net/dev",
}

func (c *Container) checkMounts() error {
	if c.ShmSize != 0 && c.ShmSize < 4096 {
		return wrong("ShmSize", "%d bytes is less than one page: use 4096 or more, or 0 for 64 MiB", c.ShmSize)
	}
	for field, paths := range map[string][]string{"MaskedPaths": c.MaskedPaths, "ReadOnlyPaths": c.ReadOnlyPaths} {
		for i, p := range paths {
			if err := checkTarget(fmt.Sprintf("%s[%d]", field, i), p); err != nil {
				return err
			}
		}
	}
	if c.RootPropagation < namespace.Private || c.RootPropagation > namespace.Unbindable {
		return wrong("RootPropagation", "there is no propagation %d", c.RootPropagation)
	}
	seen := make(map[string]bool)
	for i, m := range c.Mounts {
		field := fmt.Sprintf("Mounts[%d]", i)
		if err := checkTarget(field+".Target", m.Target); err != nil {
			return err
		}
		if seen[m.Target] {
			return wrong(field+".Target", "%s is mounted twice", m.Target)
		}
		seen[m.Target] = true
		if err := checkMount(field, m); err != nil && (!c.showing || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// checkTarget wants a clean absolute path below the root.
func checkTarget(field, target string) error {
	if err := checkPath(field, target); err != nil {
		return err
	}
	if slices.Contains(strings.Split(target, "/"), "..") {
		return wrong(field, "%q contains \"..\"", target)
	}
	if target == "/" {
		return wrong(field, "the root is not a target: use Root")
	}
	if path.Clean(target) != target {
		return wrong(field, "%q is not in its shortest form: use %q", target, path.Clean(target))
	}
	return nil
}

func checkMount(field string, m Mount) error {
	for _, s := range []string{m.Type, m.Source, m.Subpath, m.Data} {
		if strings.IndexByte(s, 0) >= 0 {
			return wrong(field, "%q contains a NUL byte", s)
		}
	}
	if m.Type == "" && m.Source == "" && m.Root == nil {
		return wrong(field+".Type", "neither Type nor Source is set: use Bind or Tmpfs")
	}
	bind := m.Type == "bind" || m.Type == ""
	if !bind && (m.Root != nil || m.Subpath != "") {
		return wrong(field+".Subpath", "only a bind has a root or a subpath, this is %s", m.Type)
	}
	if m.CopyUp && m.Type != "tmpfs" {
		return wrong(field+".CopyUp", "only a tmpfs is filled, this is %s", m.Type)
	}
	if m.Propagation < namespace.Private || m.Propagation > namespace.Unbindable {
		return wrong(field+".Propagation", "there is no propagation %d", m.Propagation)
	}
	if m.Target == "/proc" && m.Type != "proc" {
		return wrong(field+".Target", "only a mount of type proc may be at /proc, this is %s", m.Type)
	}
	if strings.HasPrefix(m.Target, "/proc/") && (!bind || !slices.Contains(procFiles, m.Target)) {
		return wrong(field+".Target", "%s is inside /proc: only a bind may be, and only at one of %s", m.Target,
			strings.Join(procFiles, ", "))
	}
	if !bind {
		return nil
	}
	if m.Root == nil {
		if err := checkPath(field+".Source", m.Source); err != nil {
			return err
		}
	} else if m.Source != "" {
		return wrong(field+".Root", "a bind has either a Source or a Root")
	}
	if m.Subpath != "" && !filepath.IsLocal(m.Subpath) {
		return wrong(field+".Subpath", "%q is not a path below the source", m.Subpath)
	}
	if m.Data != "" {
		return wrong(field+".Data", "a bind has no data, only flags")
	}
	if _, err := m.Stat(); err != nil {
		if m.Subpath != "" {
			return wrong(field+".Subpath", "%w", err)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return wrong(field+".Source", "there is no %s on the host: make it first: %w", m.Source, err)
		}
		return wrong(field+".Source", "%w", err)
	}
	return nil
}
