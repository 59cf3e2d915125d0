package layout

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// TestMiniruncCompilesNothingAtStart: the command is started for each verb of each container, so what its packages do when the
// program begins counts: none compiles a regular expression then, which internal/pattern does when it is used, or fills a map, which
// a function can return.
func TestMiniruncCompilesNothingAtStart(t *testing.T) {
	linked := list(t, "-deps", "./cmd/minirunc")
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
				sel, ok := n.(*ast.SelectorExpr)
				if ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "regexp" && strings.HasPrefix(sel.Sel.Name, "MustCompile") {
						t.Errorf("%s compiles a regular expression when the program begins", s.Path)
					}
				}
				return true
			})
		}
	}
}
