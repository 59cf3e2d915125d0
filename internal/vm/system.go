package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/internal/vm/job"
)

// systemWants are the packages of which, with all that they need, a machine with systemd is made.
var systemWants = []string{"systemd", "dbus"}

// systemLacks are those among what they need that only the installation of packages takes, or that stand in for another.
var systemLacks = regexp.MustCompile(`^(cdebconf|debconf|dpkg|install-info|lib(elogind0|debian-installer4|newt.*|slang2|textwrap1|readline8)` +
	`|readline-common|tar|mount|dmsetup|usr-is-merged|usrmerge|.*-doc|gcc-.*-base)$`)

// systemOmits are files that no machine of ours reads.
var systemOmits = []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/i18n", "usr/share/lintian",
	"usr/share/bash-completion", "usr/share/zsh", "usr/lib/udev", "usr/lib/systemd/catalog", "usr/lib/systemd/system-generators",
	"usr/share/polkit-1"}

// system returns a folder with the programs of a machine whose first process is systemd: Debian's packages, unpacked and not
// configured.
func (a *archive) system(ctx context.Context) (string, error) {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, systemWants, systemLacks, systemOmits)
	return a.cached(fmt.Sprintf("systemd-%08x", h.Sum32()), func(dir string) error {
		names, err := a.closure(ctx, systemWants)
		if err != nil {
			return err
		}
		files := filepath.Join(dir, "files")
		for _, name := range names {
			if err := a.unpack(ctx, name, files); err != nil {
				return err
			}
			if err := merge(files, dir); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := os.RemoveAll(files); err != nil {
				return err
			}
		}
		for _, name := range mergedFolders {
			err := os.Symlink("usr/"+name, filepath.Join(dir, name))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		for _, name := range systemOmits {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// closure returns the packages and what they depend on.
func (a *archive) closure(ctx context.Context, names []string) ([]string, error) {
	for _, name := range names {
		if _, err := a.find(ctx, "^"+regexp.QuoteMeta(name)+"$"); err != nil { // which updates the lists
			return nil, err
		}
	}
	o, err := a.options(ctx)
	if err != nil {
		return nil, err
	}
	o = append(o, "depends", "--recurse", "--important", "--installed=false")
	out, err := command(ctx, "", "apt-cache", append(o, names...)...)
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(out) { // a package at the line's start, what it depends on below it
		name := strings.TrimSpace(line)
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "<") || systemLacks.MatchString(name) {
			continue
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// mergedFolders are those that are below /usr in today's Debian. Some of its packages have them at the root still.
var mergedFolders = []string{"bin", "sbin", "lib", "lib64"}

// system puts the programs of systemd on the disk, and the first program, which systemd runs again to run the tests.
func (m *machine) system(ctx context.Context, first, disk string) error {
	from, err := m.archive.system(ctx)
	if err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	if _, err := os.Stat(filepath.Join(disk, job.Runner)); err == nil {
		return nil // the machine is made once more
	}
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(disk, os.DirFS(from)); err != nil {
		return err
	}
	if err := copyFile(first, filepath.Join(disk, job.Runner), 0o755); err != nil {
		return err
	}
	for _, name := range m.options.bring {
		if err := bring(ctx, name, disk); err != nil {
			return err
		}
	}
	return nil
}

// systemdLine are the kernel's parameters that systemd reads.
func systemdLine(cgroup string) string {
	line := " systemd.unit=" + job.Unit + " systemd.show_status=0 systemd.log_target=console systemd.log_level=warning"
	switch cgroup {
	case "v1":
		line += " systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"
	case "hybrid":
		line += " systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0"
	}
	return line
}

// merge moves the files of a package into a tree with merged folders. What is there already is replaced.
func merge(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil || name == "." {
			return err
		}
		if first, _, _ := strings.Cut(name, "/"); slices.Contains(mergedFolders, first) {
			name = "usr/" + name
		}
		target := filepath.Join(to, name)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		return os.Rename(path, target)
	})
}
