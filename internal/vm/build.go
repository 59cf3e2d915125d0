package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A pkg is a package whose tests run in the machine.
type pkg struct {
	path string // import path
	dir  string // its folder on this machine
	name string // its folder in the machine, below /tests
}

func goCommand(ctx context.Context, arch string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out.String(), nil
}

// build compiles the tests of the packages into disk/tests/<name>/, beside copies of what the packages' folders hold.
func build(ctx context.Context, arch, disk string, patterns []string) ([]pkg, error) {
	if len(patterns) == 0 {
		return nil, errors.New("which packages?")
	}
	format := `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}|{{.Dir}}|{{.Module.Path}}{{end}}`
	out, err := goCommand(ctx, arch, append([]string{"list", "-f", format}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var all []pkg
	for _, line := range strings.Fields(out) {
		fields := strings.Split(line, "|")
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], fields[2]), "/")
		p := pkg{path: fields[0], dir: fields[1], name: name}
		to := filepath.Join(disk, "tests", p.name)
		if err := copyTree(p.dir, to); err != nil {
			return nil, err
		}
		binary := filepath.Join(to, filepath.Base(p.path)+".test")
		if _, err := goCommand(ctx, arch, "test", "-c", "-o", binary, p.path); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no tests in %s", strings.Join(patterns, " "))
	}
	return all, nil
}

// copyTree copies the files of a package's folder and its testdata, which tests may read.
func copyTree(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.Name() == "testdata" && e.IsDir():
			err = os.CopyFS(target, os.DirFS(source))
		case e.Type().IsRegular():
			err = copyFile(source, target, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, perm os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, perm)
}
