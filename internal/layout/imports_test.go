package layout

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// table says which packages of the module each one may import, besides internal/... and packages below itself.
// What is not named here may not exist.
var table = map[string][]string{
	".":         {},
	"namespace": {},
	"cgroups":   {},
	"registry":  {},
	"layer":     {"namespace"},
	"volume":    {"namespace"},
	"network":   {"namespace"},
	"image":     {"layer", "registry"},
	"container": {"namespace", "cgroups"},
	"engine":    {"namespace", "cgroups", "registry", "layer", "volume", "network", "image", "container"},
	"build":     {"namespace", "registry", "layer", "volume", "image", "container", "engine"},
	"dockerapi": {"namespace", "cgroups", "registry", "layer", "volume", "network", "image", "container", "engine", "build"},
	"internal":  {},
	// The one internal package that is above the core: only cmd/minirunc uses it.
	"internal/bundle": {"namespace", "cgroups", "container"},
	"internal/hook":   {"namespace", "cgroups"},
	// What the programs in bench share.
	"internal/bench": {"namespace", "container"},
	"cmd":            nil, // nil: any but those of commands
	"examples":       nil,
	"bench":          nil,
}

// commands are imported by nothing outside themselves.
var commands = []string{"cmd", "examples", "bench"}

// core may make system calls that the standard library has no name for.
var core = []string{"namespace", "cgroups", "layer", "volume", "network", "internal"}

// loggers are the packages that may log, each through a field that its user sets.
var loggers = []string{"engine", "dockerapi", "registry", "cmd", "examples", "bench"}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestImportTable(t *testing.T) {
	for _, s := range sources(t) {
		may, known := table[s.Dir]
		if !known {
			may, known = table[top(s.Dir)]
		}
		if !known {
			t.Errorf("%s: the folder %s is not in the import table", s.Path, top(s.Dir))
			continue
		}
		for _, imp := range s.Own() {
			to := top(imp)
			if imp == "internal/bundle" && s.Dir != imp && s.Dir != "cmd/minirunc" {
				t.Errorf("%s imports %s, which is cmd/minirunc's", s.Path, imp)
			}
			if to == top(s.Dir) && !slices.Contains(commands, to) || to == "internal" {
				continue
			}
			switch {
			case slices.Contains(commands, to):
				// A command's own parts are below it: cmd/minidocker/x by cmd/minidocker.
				own := strings.Join(strings.SplitN(s.Dir, "/", 3)[:min(2, strings.Count(s.Dir, "/")+1)], "/")
				if imp != own && !strings.HasPrefix(imp, own+"/") {
					t.Errorf("%s imports %s: nothing imports a command", s.Path, imp)
				}
			case s.Test || may == nil:
				// Tests may use what they like, commands and examples too.
			case !slices.Contains(may, to):
				t.Errorf("%s imports %s, which the import table does not allow", s.Path, imp)
			}
		}
	}
}

func TestSystemCallsAreInTheCore(t *testing.T) {
	for _, s := range sources(t) {
		if !s.Test && slices.Contains(s.Imports(), "golang.org/x/sys/unix") && !slices.Contains(core, top(s.Dir)) {
			t.Errorf("%s imports golang.org/x/sys/unix; only %s may", s.Path, strings.Join(core, ", "))
		}
	}
}

func TestNoLogger(t *testing.T) {
	for _, s := range sources(t) {
		if s.Test || slices.Contains(loggers, top(s.Dir)) || s.Main() {
			continue
		}
		for _, imp := range s.Imports() {
			if imp == "log" || strings.HasPrefix(imp, "log/") {
				t.Errorf("%s imports %s: errors are returned, not logged", s.Path, imp)
			}
		}
	}
}

func TestNoCgo(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(s.Imports(), "C") {
			t.Errorf("%s uses cgo", s.Path)
		}
		for _, group := range s.File.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname ") {
					t.Errorf("%s reaches into another package: %s", s.Path, c.Text)
				}
			}
		}
	}
}
