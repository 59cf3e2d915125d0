package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

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
	return g.applyDevices(r, update)
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
		err = writeFile(n.dir, s.file, s.text)
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
	}
	return fieldError(s.field, s.value, err)
}

func (g *Group) applyCPU(r *Resources, update bool) error {
	if r.CPUShares == 0 && r.CPUQuota == 0 && r.CPUPeriod == 0 {
		return nil
	}
	n, err := g.node("cpu")
	if err != nil {
		s := setting{field: "CPUQuota", value: r.CPUQuota}
		if r.CPUShares != 0 {
			s = setting{field: "CPUShares", value: r.CPUShares}
		}
		return fieldError(s.field, s.value, err)
	}
	if r.CPUShares != 0 {
		s := setting{"CPUShares", r.CPUShares, "cpu.shares", itoa(int64(r.CPUShares))}
		if n.h.unified {
			s.file, s.text = "cpu.weight", itoa(int64(Weight(r.CPUShares)))
		}
		if err := n.set(s); err != nil {
			return err
		}
	}
	if r.CPUQuota == 0 && r.CPUPeriod == 0 {
		return nil
	}
	period := r.CPUPeriod
	if period == 0 && !update {
		period = DefaultCPUPeriod
	}
	if n.h.unified {
		return n.setBandwidth2(r, period)
	}
	return n.setBandwidth1(r, period)
}

func (n *node) setBandwidth2(r *Resources, period time.Duration) error {
	s := setting{"CPUQuota", r.CPUQuota, "cpu.max", "max"}
	switch {
	case r.CPUQuota > 0:
		s.text = itoa(r.CPUQuota.Microseconds())
	case r.CPUQuota == 0: // keep it
		s.field, s.value = "CPUPeriod", r.CPUPeriod
		b, err := readFile(n.dir, "cpu.max")
		if err != nil {
			return fieldError(s.field, s.value, fmt.Errorf("read %s/cpu.max: %w", n.path, err))
		}
		s.text, _, _ = strings.Cut(string(b), " ")
	}
	if period > 0 {
		s.text += " " + itoa(period.Microseconds())
	}
	return n.set(s)
}

func (n *node) setBandwidth1(r *Resources, period time.Duration) error {
	ps := setting{"CPUPeriod", period, "cpu.cfs_period_us", itoa(period.Microseconds())}
	qs := setting{"CPUQuota", r.CPUQuota, "cpu.cfs_quota_us", "-1"}
	if r.CPUQuota > 0 {
		qs.text = itoa(r.CPUQuota.Microseconds())
	}
	var periodErr error
	if period > 0 {
		periodErr = n.set(ps)
		if periodErr != nil && (r.CPUQuota == 0 || !errors.Is(periodErr, unix.EINVAL)) {
			return periodErr
		}
	}
	if r.CPUQuota != 0 {
		if err := n.set(qs); err != nil {
			return adviseQuota(err)
		}
	}
	if periodErr != nil {
		// The new period was too short for the old quota; with the new one it may do.
		return n.set(ps)
	}
	return nil
}

// adviseQuota explains what v1 says when a group would get more than the one above it has.
func adviseQuota(err error) error {
	var re *ResourceError
	if errors.As(err, &re) && errors.Is(err, unix.EINVAL) {
		re.Err = fmt.Errorf("%w (more than a group above has?)", re.Err)
	}
	return err
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
	parent, err := openDir(n.dir, "..")
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
