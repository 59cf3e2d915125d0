package layout

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// list runs go list for Linux, where everything is linked, and returns its lines.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	testenv.RequireCommand(t, "go")
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}

// linked returns the modules, other than this one, of all packages that the arguments of go list lead to.
func linked(t *testing.T, args ...string) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, m := range list(t, append([]string{"-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, args...)...) {
		if m != module {
			all[m] = true
		}
	}
	return all
}

// packagesOf returns the module's packages that are commands, or that are not.
func packagesOf(t *testing.T, ofCommands bool) []string {
	var all []string
	for _, p := range list(t, "./...") {
		if slices.Contains(commands, top(strings.TrimPrefix(p, module+"/"))) == ofCommands {
			all = append(all, p)
		}
	}
	return all
}

// TestContainerLinksLittle holds what the library promises to a program that only runs containers.
func TestContainerLinksLittle(t *testing.T) {
	if !exists(filepath.Join(root, "container/container.go")) {
		t.Skip("there is no package container yet")
	}
	for _, p := range list(t, "-deps", "./container") {
		for _, no := range []string{
			"net/http", "crypto/tls", module + "/registry", module + "/image", module + "/layer", module + "/network",
			module + "/engine", module + "/dockerapi", "github.com/vishvananda/", "github.com/google/nftables",
			"github.com/moby/moby/", "github.com/docker/", "go.yaml.in/", "oras.land/", "github.com/klauspost/", module + "/build",
		} {
			if p == no || strings.HasPrefix(p, strings.TrimSuffix(no, "/")+"/") {
				t.Errorf("a program that imports only container links %s", p)
			}
		}
	}
}

func TestDependenciesAreExplained(t *testing.T) {
	library := linked(t, packagesOf(t, false)...)
	everything := linked(t, "./...")
	tests := linked(t, "-test", "./...")
	maps.DeleteFunc(tests, func(m string, _ bool) bool { return everything[m] })
	maps.DeleteFunc(everything, func(m string, _ bool) bool { return library[m] })

	written := ledger(t)
	for section, want := range map[string]map[string]bool{
		"Library": library, "Commands": everything, "Tests": tests,
	} {
		for _, m := range slices.Sorted(maps.Keys(want)) {
			if !written[section][m] {
				t.Errorf("DEPENDENCIES.md lacks %s under %s", m, section)
			}
		}
		for _, m := range slices.Sorted(maps.Keys(written[section])) {
			if !want[m] {
				t.Errorf("DEPENDENCIES.md has %s under %s, which is not linked there", m, section)
			}
		}
	}
}

var row = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]*) \\| ([^|]*) \\|$")

// ledger reads the tables of DEPENDENCIES.md: by section, the modules. Each row must have all its cells filled.
func ledger(t *testing.T) map[string]map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "DEPENDENCIES.md"))
	require.NoError(t, err)
	all := make(map[string]map[string]bool)
	section := ""
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = name
			all[section] = make(map[string]bool)
			continue
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := row.FindStringSubmatch(line)
		if cells == nil || strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("DEPENDENCIES.md: a row says too little: %s", line)
			continue
		}
		all[section][cells[1]] = true
	}
	return all
}
