package cgroups

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseNumber parses the number of a control file; "max" is -1, and so is what v1 has for it: the largest number of
// pages, in bytes.
func parseNumber(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "max" {
		return Unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("number %.40q: %w", s, err)
	}
	if n >= 1<<63-1<<16 {
		return Unlimited, nil
	}
	return int64(n), nil
}

// parseKeys parses the lines "key number" of a control file. Lines of another form are passed over: kernels to come
// may have some.
func parseKeys(data []byte) map[string]uint64 {
	keys := make(map[string]uint64)
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
			keys[key] = n
		}
	}
	return keys
}

// parsePids parses the numbers of cgroup.procs. 0 stands for a process outside our pid namespace and is left out.
func parsePids(data []byte) ([]int, error) {
	var pids []int
	for line := range strings.Lines(string(data)) {
		pid, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("process id %.40q: %w", line, err)
		}
		if pid != 0 {
			pids = append(pids, int(pid))
		}
	}
	return pids, nil
}

// parsePressure parses a file of pressure stall information: lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
// and "full …", the total in microseconds (Documentation/accounting/psi.rst).
func parsePressure(data []byte) (*Pressure, error) {
	var p Pressure
	seen := false
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var s *Stall
		switch f[0] {
		case "some":
			s = &p.Some
		case "full":
			s = &p.Full
		default:
			continue
		}
		for _, kv := range f[1:] {
			if err := s.set(kv); err != nil {
				return nil, fmt.Errorf("pressure %.200q: %w", line, err)
			}
		}
		seen = true
	}
	if !seen {
		return nil, fmt.Errorf("pressure %.200q: %w", data, strconv.ErrSyntax)
	}
	return &p, nil
}

func (s *Stall) set(kv string) (err error) {
	key, value, _ := strings.Cut(kv, "=")
	switch key {
	case "avg10":
		s.Avg10, err = strconv.ParseFloat(value, 64)
	case "avg60":
		s.Avg60, err = strconv.ParseFloat(value, 64)
	case "avg300":
		s.Avg300, err = strconv.ParseFloat(value, 64)
	case "total":
		var us uint64
		us, err = strconv.ParseUint(value, 10, 63)
		s.Total = micros(us)
	}
	return err
}

// micros and nanos convert the kernel's counters. What a duration cannot hold, 292 years, becomes the most that it can.
func micros(n uint64) time.Duration {
	if n > uint64(1<<63-1)/1000 {
		return 1<<63 - 1
	}
	return time.Duration(n) * time.Microsecond
}

func nanos(n uint64) time.Duration {
	if n > 1<<63-1 {
		return 1<<63 - 1
	}
	return time.Duration(n)
}

// parseIO sums the devices of v2's io.stat: lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func parseIO(data []byte) IO {
	var io IO
	for line := range strings.Lines(string(data)) {
		for i, kv := range strings.Fields(line) {
			key, value, _ := strings.Cut(kv, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if i == 0 || err != nil {
				continue
			}
			switch key {
			case "rbytes":
				io.ReadBytes += n
			case "wbytes":
				io.WriteBytes += n
			case "rios":
				io.Reads += n
			case "wios":
				io.Writes += n
			}
		}
	}
	return io
}

// parseBlkio sums the devices of a file of v1's blkio: lines "8:0 Read 123", and a last one "Total 123".
func parseBlkio(data []byte) (read, write uint64) {
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			continue
		}
		switch f[1] {
		case "Read":
			read += n
		case "Write":
			write += n
		}
	}
	return read, write
}

// parseList expands a list such as "0-3,8" that validateList accepts.
func parseList(s string) (map[int]bool, error) {
	s = strings.TrimSpace(s)
	if err := validateList(s); err != nil {
		return nil, err
	}
	set := make(map[int]bool)
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		low, high, ok := strings.Cut(part, "-")
		if !ok {
			high = low
		}
		first, _ := strconv.Atoi(low)
		last, _ := strconv.Atoi(high)
		for i := first; i <= last; i++ {
			set[i] = true
		}
	}
	return set, nil
}
