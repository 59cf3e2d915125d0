package layout

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

func TestPackagesHaveExamples(t *testing.T) {
	for dir, files := range byFolder(t) {
		if isCommand(files) || top(dir) == "internal" || dir == "." {
			continue
		}
		if !slices.ContainsFunc(files, hasExample) {
			t.Errorf("%s has no Example", dir)
		}
	}
}

func hasExample(s *source) bool {
	return s.Test && slices.ContainsFunc(s.File.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && strings.HasPrefix(f.Name.Name, "Example")
	})
}
