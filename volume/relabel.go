package volume

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// unrelabelled are folders of the host that whole programs of it would not run without: nobody means them.
var unrelabelled = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt", "/proc", "/root",
	"/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/var", "/var/lib", "/var/log",
}

func checkRelabelled(path string) error {
	if slices.Contains(unrelabelled, path) || strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/sys/") {
		return fmt.Errorf("SELinux relabeling of %s is not allowed: %w", path, fs.ErrPermission)
	}
	return nil
}

// SharedContext returns an SELinux context that all containers may use, where label is one container's own: its level is s0.
func SharedContext(label string) string {
	parts := strings.SplitN(label, ":", 4)
	if len(parts) < 4 {
		return label
	}
	return strings.Join(append(parts[:3], "s0"), ":")
}
