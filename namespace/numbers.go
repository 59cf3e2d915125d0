package namespace

import (
	"fmt"
	"strconv"
	"strings"
)

// How many processors and NUMA nodes Linux can be built for, on the architectures here.
const (
	maxCPUs  = 8192
	maxNodes = 1024
)

// parseNumbers reads a list as cpuset(7) has it, "0-3,7", of numbers below limit. The result has a bit for each, in words
// of 64.
func parseNumbers(list string, limit int) ([]uint64, error) {
	var mask []uint64
	for _, part := range strings.Split(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(low, 10, 32)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(high, 10, 32)
		}
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is no list of numbers and ranges such as 0-3,7", list)
		}
		if last >= uint64(limit) {
			return nil, fmt.Errorf("%d is above %d, the highest number there can be", last, limit-1)
		}
		for n := first; n <= last; n++ {
			for uint64(len(mask)) <= n/64 {
				mask = append(mask, 0)
			}
			mask[n/64] |= 1 << (n % 64)
		}
	}
	return mask, nil
}
