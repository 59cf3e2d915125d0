package layout

import (
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// vague names say nothing about what a package is.
var vague = []string{"pkg", "util", "utils", "common", "types", "misc", "helpers", "errdefs"}

func byFolder(t *testing.T) map[string][]*source {
	packages := make(map[string][]*source)
	for _, s := range sources(t) {
		packages[s.Dir] = append(packages[s.Dir], s)
	}
	return packages
}

func isCommand(files []*source) bool { return slices.ContainsFunc(files, (*source).Main) }

func TestPackagesAreNamedAndDocumented(t *testing.T) {
	for dir, files := range byFolder(t) {
		if slices.Contains(vague, path.Base(dir)) {
			t.Errorf("%s: the name says nothing", dir)
		}
		documented := func(s *source) bool { return s.File.Doc != nil && !s.Test }
		if !slices.ContainsFunc(files, documented) {
			t.Errorf("%s has no package documentation", dir)
		}
		if !isCommand(files) && top(dir) != "internal" && !exists(filepath.Join(root, dir, "doc.go")) {
			t.Errorf("%s has no doc.go", dir)
		}
	}
}
