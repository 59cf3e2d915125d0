package cgroups

import (
	"cmp"
	"fmt"
	"slices"
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

// deviceStats collects what is counted for block devices by their numbers, major and minor.
type deviceStats map[[2]uint32]*IODeviceStats

// at returns the device of a number such as "8:16"; nil if it is none.
func (d deviceStats) at(number string) *IODeviceStats {
	a, b, ok := strings.Cut(number, ":")
	major, err1 := strconv.ParseUint(a, 10, 32)
	minor, err2 := strconv.ParseUint(b, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil
	}
	key := [2]uint32{uint32(major), uint32(minor)}
	if d[key] == nil {
		d[key] = &IODeviceStats{Major: key[0], Minor: key[1]}
	}
	return d[key]
}

// sum returns the devices and their sums.
func (d deviceStats) sum() IO {
	var io IO
	for _, s := range d {
		io.ReadBytes += s.ReadBytes
		io.WriteBytes += s.WriteBytes
		io.Reads += s.Reads
		io.Writes += s.Writes
		io.Devices = append(io.Devices, *s)
	}
	slices.SortFunc(io.Devices, func(a, b IODeviceStats) int {
		return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor))
	})
	return io
}

// parseIO parses v2's io.stat: lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func parseIO(data []byte) IO {
	d := make(deviceStats)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		s := d.at(f[0])
		if s == nil {
			continue
		}
		for _, kv := range f[1:] {
			key, value, _ := strings.Cut(kv, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				continue
			}
			switch key {
			case "rbytes":
				s.ReadBytes = n
			case "wbytes":
				s.WriteBytes = n
			case "rios":
				s.Reads = n
			case "wios":
				s.Writes = n
			case "dbytes":
				s.DiscardBytes = n
			case "dios":
				s.Discards = n
			}
		}
	}
	return d.sum()
}

// parseBlkio parses the two files of v1's blkio, with bytes and with operations: lines "8:0 Read 123", and a last one
// "Total 123".
func parseBlkio(bytes, operations []byte) IO {
	d := make(deviceStats)
	for i, data := range [][]byte{bytes, operations} {
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			n, err := strconv.ParseUint(f[2], 10, 64)
			s := d.at(f[0])
			if err != nil || s == nil {
				continue
			}
			switch f[1] {
			case "Read":
				*[]*uint64{&s.ReadBytes, &s.Reads}[i] = n
			case "Write":
				*[]*uint64{&s.WriteBytes, &s.Writes}[i] = n
			case "Discard":
				*[]*uint64{&s.DiscardBytes, &s.Discards}[i] = n
			}
		}
	}
	return d.sum()
}

// maxCPUs bounds what parsePerCPU takes: more than Linux can be built for.
const maxCPUs = 1 << 16

// parsePerCPU parses v1's cpuacct.usage_percpu: a line of nanoseconds.
func parsePerCPU(data []byte) ([]time.Duration, error) {
	f := strings.Fields(string(data))
	if len(f) > maxCPUs {
		return nil, fmt.Errorf("cpuacct.usage_percpu has %d numbers", len(f))
	}
	list := make([]time.Duration, len(f))
	for i, s := range f {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cpuacct.usage_percpu %.40q: %w", s, err)
		}
		list[i] = nanos(n)
	}
	return list, nil
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
