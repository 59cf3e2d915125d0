package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/caisson-engine/caisson"
	root   = "../.."
)

// A source is one Go file of the module, for whatever system it is.
type source struct {
	Path string // from the module's root, with slashes
	Dir  string // "." for the root
	Test bool
	File *ast.File
}

// Imports returns the paths that the file imports.
func (s *source) Imports() []string {
	var all []string
	for _, spec := range s.File.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// Own returns the folders of this module's packages that the file imports.
func (s *source) Own() []string {
	var all []string
	for _, p := range s.Imports() {
		if p == module {
			all = append(all, ".")
		} else if dir, ok := strings.CutPrefix(p, module+"/"); ok {
			all = append(all, dir)
		}
	}
	return all
}

// Main says that the file belongs to a command.
func (s *source) Main() bool { return s.File.Name.Name == "main" }

// top is the first element of a folder's path.
func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// sources parses every Go file of the module, and of no other module below it.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			base := path.Base(rel)
			if base == "testdata" || rel == "build" || rel != "." && (base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			if rel != "." && exists(filepath.Join(name, "go.mod")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(rel) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, &source{rel, path.Dir(rel), strings.HasSuffix(rel, "_test.go"), f})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(all), 10, "the walk found too little")
	return all
}
