package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A statsReader reads control files, and keeps the first error. A file that is not there is none: it leaves zero.
type statsReader struct{ err error }

func (r *statsReader) text(dir, file string) string {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil && r.err == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EOPNOTSUPP) {
		r.err = err
	}
	return strings.TrimSpace(string(b))
}

func (r *statsReader) parse(dir, file, s string) uint64 {
	if s == "max" {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	return n
}

// number reads a file of one number.
func (r *statsReader) number(dir, file string) uint64 {
	s := r.text(dir, file)
	if s == "" {
		return 0
	}
	return r.parse(dir, file, s)
}

// keys reads a file of lines with a key and a number.
func (r *statsReader) keys(dir, file string) map[string]uint64 {
	all := make(map[string]uint64)
	for line := range strings.Lines(r.text(dir, file)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all[key] = r.parse(dir, file, value)
		}
	}
	return all
}

// numbers reads a line of numbers.
func (r *statsReader) numbers(dir, file string) (all []uint64) {
	for s := range strings.FieldsSeq(r.text(dir, file)) {
		all = append(all, r.parse(dir, file, s))
	}
	return all
}

// maxID bounds the CPUs and memory nodes of a list.
const maxID = 1 << 13

// list reads a list such as "0-3,8".
func (r *statsReader) list(dir, file string) (all []uint16) {
	for part := range strings.SplitSeq(r.text(dir, file), ",") {
		if part == "" {
			continue
		}
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			to = from
		}
		a, b := r.parse(dir, file, from), r.parse(dir, file, to)
		for n := a; n <= min(b, maxID); n++ {
			all = append(all, uint16(n))
		}
	}
	return all
}

// psi reads "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and full. It is nil if the kernel does not measure it.
func (r *statsReader) psi(dir, controller string) *statsPSI {
	text := r.text(dir, controller+".pressure")
	if text == "" {
		return nil
	}
	s := &statsPSI{}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		to := &s.Some
		if kind == "full" {
			to = &s.Full
		}
		for field := range strings.FieldsSeq(rest) {
			name, value, _ := strings.Cut(field, "=")
			if name == "total" {
				to.Total = r.parse(dir, controller+".pressure", value)
				continue
			}
			avg, err := strconv.ParseFloat(value, 64)
			if err != nil && r.err == nil {
				r.err = fmt.Errorf("%s/%s.pressure: %w", dir, controller, err)
			}
			switch name {
			case "avg10":
				to.Avg10 = avg
			case "avg60":
				to.Avg60 = avg
			case "avg300":
				to.Avg300 = avg
			}
		}
	}
	return s
}

// hugepageSizes returns the sizes for which there are control files in dir: those of hugetlb.2MB.suffix.
func hugepageSizes(dir, suffix string) (sizes []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "hugetlb.*."+suffix))
	for _, f := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "hugetlb."), "."+suffix)
		if !strings.Contains(size, ".") { // 2MB.rsvd
			sizes = append(sizes, size)
		}
	}
	return sizes
}
