package engine

import (
	"strconv"
	"strings"
)

// ParseUlimit reads a limit as docker run's --ulimit gives it: "nofile=1024" or "nofile=1024:2048"; -1 or "unlimited" is
// no limit.
func ParseUlimit(spec string) (Ulimit, error) {
	name, value, ok := strings.Cut(spec, "=")
	if !ok || name == "" {
		return Ulimit{}, invalid("invalid ulimit argument: %s", spec)
	}
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	u := Ulimit{Name: name}
	var err error
	if u.Soft, err = limit(soft); err != nil {
		return u, invalid("invalid ulimit argument: %s", spec)
	}
	if u.Hard, err = limit(hard); err != nil {
		return u, invalid("invalid ulimit argument: %s", spec)
	}
	if u.Hard >= 0 && (u.Soft < 0 || u.Soft > u.Hard) {
		return u, invalid("ulimit soft limit must be less than or equal to hard limit: %s", spec)
	}
	return u, nil
}

func limit(s string) (int64, error) {
	if s == "unlimited" {
		return -1, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && n < -1 {
		err = strconv.ErrRange
	}
	return n, err
}
