package cgroups

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Pids returns the processes in the group and the groups below it, in ascending order, as our pid namespace numbers
// them. Zombies are not among them.
func (g *Group) Pids() ([]int, error) {
	if err := g.acquire("list processes of"); err != nil {
		return nil, err
	}
	defer g.mu.RUnlock()
	return g.pids()
}

// pids lists the processes of all hierarchies: one that can write to a cgroup file system may have left the group in
// one of them.
func (g *Group) pids() ([]int, error) {
	var all []int
	for _, n := range g.nodes {
		pids, err := n.pids()
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (n *node) pids() ([]int, error) {
	dir, err := openDir(n.fd(), ".")
	if gone(err) {
		return nil, nil
	}
	var pids []int
	if err == nil {
		pids, err = pidsBelow(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", n.path, err)
	}
	return pids, nil
}

// pidsBelow lists the processes of the directory dir and of those below it, and closes dir.
func pidsBelow(dir int) ([]int, error) {
	var all []int
	err := walk(dir, func(dir int) error {
		b, err := readFile(dir, "cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil // a threaded group: its processes are listed by the one above
		}
		if err != nil {
			return err
		}
		pids, err := parsePids(b)
		all = append(all, pids...)
		return err
	}, nil)
	return all, err
}
