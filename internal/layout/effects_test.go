package layout

import (
	"go/ast"
	"slices"
	"testing"
)

// effects on the whole process belong to its main function: a library makes none.
var effects = []string{
	"os.Setenv", "os.Unsetenv", "os.Clearenv", "os.Chdir", "os.Exit", "signal.Notify", "signal.Ignore", "signal.Reset",
	"syscall.Umask", "unix.Umask", "syscall.Chdir", "debug.SetGCPercent", "runtime.GOMAXPROCS",
}

// harness are the folders whose code is the main function of a test binary.
var harness = []string{"internal/testenv", "internal/vm"}

func TestImportingDoesNothing(t *testing.T) {
	for _, s := range sources(t) {
		if s.Test || ast.IsGenerated(s.File) {
			continue
		}
		for _, d := range s.File.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.Path)
			}
		}
	}
}

func TestNoEffectOnTheProcess(t *testing.T) {
	for _, s := range sources(t) {
		if s.Test || s.Main() || slices.Contains(harness, s.Dir) {
			continue
		}
		ast.Inspect(s.File, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(effects, x.Name+"."+sel.Sel.Name) {
				t.Errorf("%s uses %s.%s, which changes the whole process", s.Path, x.Name, sel.Sel.Name)
			}
			return true
		})
	}
}
