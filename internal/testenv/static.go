package testenv

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// folder is the package's folder, where go test starts a test binary.
var folder string

// staticEnv names what staticSelf returns, for a process of the same test: see Again.
const staticEnv = "CAISSON_TEST_STATIC"

// staticSelf returns the path of the test binary, or of one like it that is linked statically: where a C compiler is
// installed, go test links dynamically what imports package net, and so does the race detector.
var staticSelf = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(staticEnv); path != "" {
		return path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := elf.Open(self)
	if err != nil {
		return self, nil // not Linux
	}
	defer f.Close()
	if f.Section(".interp") == nil {
		return self, nil
	}
	path := staticPath()
	cmd := exec.Command("go", "test", "-c", "-o", path, ".")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the test binary is linked dynamically (set CGO_ENABLED=0), and another cannot be built: "+
			"%w\n%s", err, out)
	}
	return path, os.Chmod(path, 0o755)
})

// staticPath lies in the tests' temporary folder, beside the root file systems that link to it.
func staticPath() string { return filepath.Join(os.TempDir(), "static.test") }
