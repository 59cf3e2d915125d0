package cgroups

import (
	"errors"
	"fmt"
	"strings"
)

// A membership is the group that a process is in, in one hierarchy.
type membership struct {
	controllers []string // of v1, or "name=…" for a hierarchy without controllers; nil for the unified hierarchy
	path        string   // from the root of the cgroup namespace; starts with "/..", if it is outside
}

// parseProcGroup parses a file in the format of /proc/<pid>/cgroup (cgroups(7)): lines of id:controllers:path.
func parseProcGroup(data []byte) ([]membership, error) {
	var list []membership
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		f := strings.SplitN(line, ":", 3)
		if len(f) < 3 || !strings.HasPrefix(f[2], "/") {
			return nil, fmt.Errorf("cgroup line %.200q: %w", line, errors.New("is not id:controllers:/path"))
		}
		m := membership{path: strings.TrimSuffix(f[2], " (deleted)")}
		if f[1] != "" {
			m.controllers = strings.Split(f[1], ",")
		}
		list = append(list, m)
	}
	return list, nil
}

// components splits a group's path. ".." is a component like any other: it is only ever the way out of a cgroup
// namespace, at the front.
func components(path string) []string {
	var list []string
	for c := range strings.SplitSeq(path, "/") {
		if c != "" && c != "." {
			list = append(list, c)
		}
	}
	return list
}

// below returns path as seen from root. ok is false when it is not root or below it, or cannot be known: of a mount
// whose root is "/..", the parent of the namespace's root, nobody inside knows by what name it holds "/".
func below(root, path string) (rel []string, ok bool) {
	r, p := components(root), components(path)
	if len(p) < len(r) {
		return nil, false
	}
	for i := range r {
		if r[i] != p[i] {
			return nil, false
		}
	}
	rel = p[len(r):]
	for _, c := range rel {
		if c == ".." {
			return nil, false
		}
	}
	return rel, true
}

// maxName and maxPath bound the names of groups: NAME_MAX, and a length that leaves room for the mount point.
const (
	maxName = 255
	maxPath = 2048
)

// splitPath validates the path of a group as callers give it, and returns its components.
func splitPath(path string) (names []string, absolute bool, err error) {
	fail := func(why string) ([]string, bool, error) {
		return nil, false, fmt.Errorf("group path %.300q: %s", path, why)
	}
	if len(path) > maxPath {
		return fail(fmt.Sprintf("is longer than %d bytes", maxPath))
	}
	rest, absolute := strings.CutPrefix(path, "/")
	names = strings.Split(rest, "/")
	for _, n := range names {
		switch {
		case n == "":
			return fail("has an empty name")
		case n == "." || n == "..":
			return fail(`has a name that is "." or ".."`)
		case len(n) > maxName:
			return fail(fmt.Sprintf("has a name longer than %d bytes", maxName))
		case strings.ContainsAny(n, "\x00\n"):
			return fail("has a name with a NUL or a line break")
		case strings.HasPrefix(n, "cgroup."):
			return fail(`has a name that starts with "cgroup.", as the kernel's own files do`)
		}
	}
	return names, absolute, nil
}
