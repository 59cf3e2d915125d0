package namespace

import (
	"fmt"
	"strings"
)

// rlimitNames are the resources by number, without their prefix: the same on all of Linux's 64-bit architectures here.
var rlimitNames = [...]string{
	"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE",
	"NICE", "RTPRIO", "RTTIME",
}

// RlimitName is the name of a resource, "RLIMIT_NOFILE".
func RlimitName(resource int) string {
	if resource < 0 || resource >= len(rlimitNames) {
		return fmt.Sprintf("RLIMIT_%d", resource)
	}
	return "RLIMIT_" + rlimitNames[resource]
}

// RlimitByName is the number of a resource, by a name like "RLIMIT_NOFILE" or "nofile".
func RlimitByName(name string) (resource int, ok bool) {
	name = strings.TrimPrefix(strings.ToUpper(name), "RLIMIT_")
	for i, n := range rlimitNames {
		if n == name {
			return i, true
		}
	}
	return 0, false
}
