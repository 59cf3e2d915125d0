package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/internal/word"
)

// maxFileValue bounds what is written to a file of Unified: the kernel takes a page at a time.
const maxFileValue = 4096

// controlFile says whether s is a controller, in small letters, and what follows it after dots.
func controlFile(s string) bool {
	controller, rest, _ := strings.Cut(s, ".")
	small := controller != "" && 'a' <= controller[0] && controller[0] <= 'z' && controller == strings.ToLower(controller)
	for part := range strings.SplitSeq(rest, ".") {
		small = small && word.Is(part, "_", "")
	}
	return small && word.Is(controller, "_", "")
}

// coreFiles are the files of the unified hierarchy itself that limit: the others move or signal processes, or hand
// controllers down.
var coreFiles = []string{"cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"}

func unifiedField(file string) string { return "Unified[" + file + "]" }

func (r *Resources) validateUnified() error {
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		value := r.Unified[file]
		switch {
		case len(file) > maxName || !controlFile(file):
			return fieldError("Unified", fmt.Sprintf("%.300q", file),
				errors.New(`is not the name of a control file such as "memory.high"`))
		case strings.HasPrefix(file, "cgroup.") && !slices.Contains(coreFiles, file):
			return fieldError(unifiedField(file), fmt.Sprintf("%.100q", value),
				fmt.Errorf("is not a limit: of cgroup.* use %s", strings.Join(coreFiles, ", ")))
		case strings.TrimSpace(value) == "" || len(value) > maxFileValue || strings.Contains(value, "\x00"):
			return fieldError(unifiedField(file), fmt.Sprintf("%.100q", value),
				fmt.Errorf("is empty, longer than %d bytes or holds a NUL byte", maxFileValue))
		}
	}
	return nil
}
