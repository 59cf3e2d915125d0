package layout

import (
	"go/ast"
	"slices"
	"testing"
)

// TestMiniruncCompilesNothingAtStart: the command is started for each verb of each container, so what its packages do when the
// program begins counts: none fills a map then, which a function can return, and regular expressions are not linked: their package fills some.
func TestMiniruncCompilesNothingAtStart(t *testing.T) {
	linked := list(t, "-deps", "./cmd/minirunc")
	if slices.Contains(linked, "regexp") {
		t.Error("package regexp is linked")
	}
	for _, s := range sources(t) {
		if s.Test || s.Main() && s.Dir != "cmd/minirunc" || !slices.Contains(linked, module+"/"+s.Dir) {
			continue
		}
		for _, d := range s.File.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			ast.Inspect(g, func(n ast.Node) bool {
				if _, inside := n.(*ast.FuncLit); inside {
					return false
				}
				if lit, ok := n.(*ast.CompositeLit); ok && len(lit.Elts) > 0 {
					if _, ok := lit.Type.(*ast.MapType); ok {
						t.Errorf("%s fills a map when the program begins", s.Path)
					}
				}
				return true
			})
		}
	}
}
