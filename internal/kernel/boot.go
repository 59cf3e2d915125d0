package kernel

import (
	"os"
	"strings"
)

// BootID returns what tells one run of the kernel from the next, "" if that cannot be found out.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
