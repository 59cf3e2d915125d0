package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Update puts the group under other limits while it runs; fields of r that are zero leave what is in force. It never
// kills: a memory limit below what the group uses makes the kernel reclaim, and is ErrBusy if that does not suffice.
// The error is a [*ResourceError]; limits set before the one that was refused stay set.
func (g *Group) Update(r *Resources) error {
	if r == nil {
		return nil
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("update group %s: %w", g.name, err)
	}
	if err := g.acquire("update"); err != nil {
		return err
	}
	defer g.mu.RUnlock()
	g.updating.Lock()
	defer g.updating.Unlock()
	if err := g.enableMore(r); err != nil {
		return fmt.Errorf("update group %s: %w", g.name, err)
	}
	if err := g.apply(r, true); err != nil {
		return fmt.Errorf("update group %s: %w", g.name, err)
	}
	return nil
}

// apply writes the limits. update says that the group may have others already, and processes.
func (g *Group) apply(r *Resources, update bool) error {
	if err := g.applyMemory(r, update); err != nil {
		return err
	}
	if err := g.applyCPU(r, update); err != nil {
		return err
	}
	if err := g.applyCpuset(r); err != nil {
		return err
	}
	if r.Pids != 0 {
		if err := g.set("pids", setting{"Pids", r.Pids, "pids.max", limit(r.Pids)}); err != nil {
			return err
		}
	}
	for _, apply := range []func(*Resources) error{g.applyIO, g.applyHugepages, g.applyRDMA, g.applyNetwork} {
		if err := apply(r); err != nil {
			return err
		}
	}
	if err := g.applyDevices(r, update); err != nil {
		return err
	}
	return g.applyUnified(r)
}

// A setting is a field of Resources and what it becomes: a text for a control file.
type setting struct {
	field string
	value any
	file  string
	text  string
}

// limit formats a limit for the files that know "max".
func limit(n int64) string {
	if n == Unlimited {
		return "max"
	}
	return itoa(n)
}

// set writes a setting in the hierarchy of controller.
func (g *Group) set(controller string, s setting) error {
	n, err := g.node(controller)
	if err != nil {
		return fieldError(s.field, s.value, err)
	}
	return n.set(s)
}

func (n *node) set(s setting) error {
	err := n.m.step("write", n.path+"/"+s.file)
	if err == nil {
		err = writeFile(n.fd(), s.file, s.text)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write %q to %s/%s: %w", s.text, n.path, s.file, err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		err = fmt.Errorf("%w: %w", err, ErrNotDelegated)
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: this kernel does not have the limit: %w", err, errors.ErrUnsupported)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, errNotSupported):
		err = fmt.Errorf("%w: this kernel has the limit turned off: %w", err, errors.ErrUnsupported)
	}
	return fieldError(s.field, s.value, err)
}

// errNotSupported is the kernel's ENOTSUPP, which should never leave it but does for some control files.
const errNotSupported = unix.Errno(524)

// onlyV1 is the error of a limit that v2 does not have.
func (n *node) onlyV1(field string, value any, controller string) error {
	return fieldError(field, value, fmt.Errorf("controller %s has it only on cgroup v1, here it is on v2: %w",
		controller, errors.ErrUnsupported))
}

func (g *Group) applyCPU(r *Resources, update bool) error {
	w := r.cpuWant()
	if w.field == "" {
		return nil
	}
	n, err := g.node("cpu")
	if err != nil {
		return fieldError(w.field, w.value, err)
	}
	// While a group is idle, it has no weight to be set.
	if r.CPUIdle != nil && !*r.CPUIdle && update {
		if err := n.setIdle(false); err != nil {
			return err
		}
	}
	if r.CPUShares != 0 {
		s := setting{"CPUShares", r.CPUShares, "cpu.shares", itoa(int64(r.CPUShares))}
		if n.h.unified {
			s.file, s.text = "cpu.weight", itoa(int64(Weight(r.CPUShares)))
		}
		if err := n.set(s); err != nil {
			return n.adviseShares(err)
		}
	}
	if err := n.applyBandwidth(r, update); err != nil {
		return err
	}
	if err := n.applyRealtime(r); err != nil {
		return err
	}
	if r.CPUIdle != nil && *r.CPUIdle {
		return n.setIdle(true)
	}
	return nil
}

func (g *Group) applyCpuset(r *Resources) error {
	for _, s := range []setting{
		{"CPUs", r.CPUs, "cpuset.cpus", r.CPUs},
		{"Mems", r.Mems, "cpuset.mems", r.Mems},
	} {
		if s.text == "" {
			continue
		}
		n, err := g.node("cpuset")
		if err != nil {
			return fieldError(s.field, s.value, err)
		}
		if err := n.offered(s); err != nil {
			return err
		}
		if err := n.set(s); err != nil {
			return err
		}
	}
	return nil
}

// offered checks that the parent has what s asks for. v1 would refuse with a bare EACCES, and v2 take it and do
// something else.
func (n *node) offered(s setting) error {
	parent, err := openDir(n.fd(), "..")
	if err != nil {
		return fieldError(s.field, s.value, fmt.Errorf("open %s/..: %w", n.path, err))
	}
	defer unix.Close(parent)
	file := s.file // v1
	if n.h.unified {
		file += ".effective"
	}
	b, err := readFile(parent, file)
	if err != nil {
		return fieldError(s.field, s.value, fmt.Errorf("read %s/../%s: %w", n.path, file, err))
	}
	has, err := parseList(string(b))
	if err != nil || len(has) == 0 {
		return nil // the kernel will judge
	}
	asked, err := parseList(s.text)
	if err != nil {
		return fieldError(s.field, s.value, err)
	}
	for i := range asked {
		if !has[i] {
			return fieldError(s.field, s.value, fmt.Errorf("the group above has only %s", strings.TrimSpace(string(b))))
		}
	}
	return nil
}
