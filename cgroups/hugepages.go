package cgroups

import (
	"strings"

	"errors"

	"github.com/caisson-engine/caisson/internal/word"
)

// A HugepageLimit bounds the memory of a group in huge pages of one size.
type HugepageLimit struct {
	// Size is the page size as the kernel writes it: "2MB", "1GB", "64KB".
	Size string
	// Limit is the most memory in bytes, 0 none at all; Unlimited lifts the limit. The kernel rounds it down to whole
	// pages. It bounds both what is reserved (Linux ≥ 5.7), where a process that wants more is refused, and what is
	// used, where it would be killed by SIGBUS.
	Limit int64
}

// hugepageSize says whether s is a size as the kernel writes it: "2MB".
func hugepageSize(s string) bool {
	n := strings.TrimRight(s, "KMGB")
	unit := s[len(n):]
	return word.Number(n) && n[0] != '0' && len(n) <= 6 && (unit == "KB" || unit == "MB" || unit == "GB")
}

func (h HugepageLimit) field() string { return "Hugepages[" + h.Size + "]" }

func (r *Resources) validateHugepages() error {
	for _, h := range r.Hugepages {
		switch {
		case len(h.Size) > 20 || !hugepageSize(h.Size):
			return fieldError("Hugepages", h.Size, errors.New(`is not a page size such as "2MB"`))
		case h.Limit < Unlimited:
			return fieldError(h.field(), h.Limit, errors.New("is negative"))
		}
	}
	return nil
}
