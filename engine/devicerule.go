package engine

import (
	"regexp"
	"strconv"
	"sync"

	"github.com/caisson-engine/caisson/cgroups"
)

// deviceRule is compiled when it is asked for: each start of the program would take longer by it.
var deviceRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([acb]) ([0-9]{1,9}|\*):([0-9]{1,9}|\*) ([rwm]{1,3})$`)
})

// ParseDeviceRule parses a rule as docker run's --device-cgroup-rule gives it, such as "c 1:3 rwm".
func ParseDeviceRule(s string) (cgroups.DeviceRule, error) {
	m := deviceRule().FindStringSubmatch(s)
	if m == nil {
		return cgroups.DeviceRule{}, invalid("invalid device cgroup format '%s': the correct one is 'c 1:3 rwm'", s)
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return cgroups.AnyDevice
		}
		return n
	}
	return cgroups.DeviceRule{Allow: true, Type: m[1][0], Major: number(m[2]), Minor: number(m[3]), Access: m[4]}, nil
}
