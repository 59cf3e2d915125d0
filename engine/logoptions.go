package engine

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/docker/go-units"
)

// Bounds of a keeper's log, in bytes: see [namespace.Keep].
const (
	minLogSize = 64 << 10
	maxLogSize = 1 << 40
)

// noLogDriver is the log driver that keeps nothing.
const noLogDriver = "none"

// logSize is the size at which a keeper begins another file, in bytes, such that the two files that it keeps have together at most what
// Docker would keep, max-size times max-file; zero is the default. The error names the option.
func (c *Config) logSize() (int64, error) {
	switch c.LogDriver {
	case "", "json-file", "local", noLogDriver:
	default:
		return 0, fmt.Errorf("log driver %q: not implemented (json-file and local are, which are one, and none): %w", c.LogDriver, errors.ErrUnsupported)
	}
	if c.LogDriver == noLogDriver && len(c.LogOptions) > 0 {
		return 0, invalid("conflicting options: log options, and the log driver none")
	}
	size, files := int64(-1), int64(1)
	for name, value := range c.LogOptions {
		var err error
		switch name {
		case "max-size":
			if value == "-1" {
				break
			}
			if size, err = units.RAMInBytes(value); err == nil && size <= 0 {
				err = errors.New("it is not positive")
			}
		case "max-file":
			if files, err = strconv.ParseInt(value, 10, 32); err == nil && files < 1 {
				err = errors.New("it is not positive")
			}
		case "compress":
			var compress bool
			if compress, err = strconv.ParseBool(value); compress {
				err = errors.New("not implemented")
			}
		default:
			err = errors.New("not implemented (max-size, max-file and compress are)")
		}
		if err != nil {
			return 0, &Error{Kind: Invalid, Message: fmt.Sprintf("log option %s=%s", name, value), Err: err}
		}
	}
	if size < 0 {
		if _, ok := c.LogOptions["max-file"]; ok && files > 1 {
			return 0, &Error{Kind: Invalid, Message: fmt.Sprintf("log option max-file=%d: it needs max-size", files)}
		}
		return 0, nil
	}
	size = max(1, min(size, maxLogSize)*min(files, 1<<20)/2)
	return max(minLogSize, min(int64(1)<<(bits.Len64(uint64(size))-1), maxLogSize)), nil
}
