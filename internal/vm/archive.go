package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// An archive is Debian's, for one architecture, with a cache of what was taken from it.
type archive struct {
	cache string
	arch  string
}

// command runs a program and returns what it prints.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return out.String(), nil
}

// options are those of apt: for an architecture that is not the machine's own, lists and caches are kept apart.
func (a *archive) options(ctx context.Context) ([]string, error) {
	native, err := command(ctx, "", "dpkg", "--print-architecture")
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(native) == a.arch {
		return nil, nil
	}
	dir := filepath.Join(a.cache, "apt-"+a.arch)
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(dir, "state/status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	return []string{
		"-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures=" + a.arch,
		"-o", "Dir::State=" + filepath.Join(dir, "state"), "-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"), "-o", "APT::Sandbox::User=root",
	}, nil
}

// find returns the newest package whose name matches the expression. Lists are updated if they have none.
func (a *archive) find(ctx context.Context, expression string) (string, error) {
	o, err := a.options(ctx)
	if err != nil {
		return "", err
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return "", err
	}
	for updated := false; ; updated = true {
		out, err := command(ctx, "", "apt-cache", append(o, "pkgnames")...)
		if err != nil {
			return "", err
		}
		names := slices.DeleteFunc(strings.Fields(out), func(n string) bool { return !re.MatchString(n) })
		if len(names) > 0 {
			return slices.MaxFunc(names, compareVersions), nil
		}
		if updated {
			return "", fmt.Errorf("no package matches %s for %s", expression, a.arch)
		}
		if _, err := command(ctx, "", "apt-get", append(o, "-qq", "update")...); err != nil {
			return "", err
		}
	}
}

// unpack downloads a package and unpacks it into dir.
func (a *archive) unpack(ctx context.Context, name, dir string) error {
	o, err := a.options(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	o = append(o, "-o", "APT::Sandbox::User=root", "-qq", "download", name)
	if _, err := command(ctx, dir, "apt-get", o...); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("apt-get download %s left %v (%v)", name, found, err)
	}
	_, err = command(ctx, "", "dpkg-deb", "-x", found[0], dir)
	return errors.Join(err, os.Remove(found[0]))
}

// cached returns the folder <cache>/<name>-<arch>, which fill makes on the first use. An interrupted fill leaves
// nothing under that name.
func (a *archive) cached(name string, fill func(dir string) error) (string, error) {
	dir := filepath.Join(a.cache, name+"-"+a.arch)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(a.cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(a.cache, "tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) { // another run was faster
		return "", err
	}
	return dir, nil
}

// busybox returns the path of a static busybox.
func (a *archive) busybox(ctx context.Context) (string, error) {
	dir, err := a.cached("busybox", func(dir string) error {
		files := filepath.Join(dir, "files")
		if err := a.unpack(ctx, "busybox-static", files); err != nil {
			return err
		}
		for _, path := range []string{"bin/busybox", "usr/bin/busybox"} {
			if err := os.Rename(filepath.Join(files, path), filepath.Join(dir, "busybox")); err == nil {
				return os.RemoveAll(files)
			}
		}
		return errors.New("busybox-static holds no busybox")
	})
	return filepath.Join(dir, "busybox"), err
}

var runs = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// compareVersions orders names by their numbers, as sort -V does.
func compareVersions(a, b string) int {
	x, y := runs.FindAllString(a, -1), runs.FindAllString(b, -1)
	return slices.CompareFunc(x, y, func(p, q string) int {
		if isNumber(p) && isNumber(q) {
			p, q = strings.TrimLeft(p, "0"), strings.TrimLeft(q, "0")
			if len(p) != len(q) {
				return len(p) - len(q)
			}
		}
		return strings.Compare(p, q)
	})
}

func isNumber(s string) bool { return s[0] >= '0' && s[0] <= '9' }
