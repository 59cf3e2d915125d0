package cgroups

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

func (g *Group) applyMemory(r *Resources, update bool) error {
	w := r.memoryWant()
	if w.field == "" {
		return nil
	}
	n, err := g.node("memory")
	if err != nil {
		return fieldError(w.field, w.value, err)
	}
	if n.h.unified {
		return n.setMemory2(r, update)
	}
	return n.setMemory1(r, update)
}

// memoryWant is the field that needs the memory controller; none has an empty field.
func (r *Resources) memoryWant() want {
	for _, f := range []struct {
		name  string
		value int64
	}{{"Memory", r.Memory}, {"MemorySwap", r.MemorySwap}, {"MemoryReservation", r.MemoryReservation}} {
		if f.value != 0 {
			return want{"memory", f.name, f.value}
		}
	}
	if r.OOMGroup {
		return want{"memory", "OOMGroup", true}
	}
	return r.memory1Want()
}

// memory1Want is a field that only v1 has.
func (r *Resources) memory1Want() want {
	switch {
	case r.OOMKillDisable != nil:
		return want{"memory", "OOMKillDisable", *r.OOMKillDisable}
	case r.Swappiness != nil:
		return want{"memory", "Swappiness", *r.Swappiness}
	case r.KernelTCPMemory != 0:
		return want{"memory", "KernelTCPMemory", r.KernelTCPMemory}
	}
	return want{}
}

// setMemory1Only sets what v2 does not have.
func (n *node) setMemory1Only(r *Resources) error {
	if r.KernelTCPMemory != 0 {
		s := setting{"KernelTCPMemory", r.KernelTCPMemory, "memory.kmem.tcp.limit_in_bytes", itoa(r.KernelTCPMemory)}
		if err := n.set(s); err != nil {
			return err
		}
	}
	if r.Swappiness != nil {
		s := setting{"Swappiness", *r.Swappiness, "memory.swappiness", itoa(int64(*r.Swappiness))}
		if err := n.set(s); err != nil {
			return err
		}
	}
	if r.OOMKillDisable == nil {
		return nil
	}
	s := setting{"OOMKillDisable", *r.OOMKillDisable, "memory.oom_control", "0"}
	if *r.OOMKillDisable {
		s.text = "1"
	}
	return n.set(s)
}

// setMemory1 sets the limits on v1, where the kernel insists that memory and swap together are never less than memory.
func (n *node) setMemory1(r *Resources, update bool) error {
	if r.OOMGroup {
		return fieldError("OOMGroup", true, fmt.Errorf("memory is on cgroup v1: %w", errors.ErrUnsupported))
	}
	if err := n.setMemory1Only(r); err != nil {
		return err
	}
	if r.MemoryReservation != 0 {
		s := setting{"MemoryReservation", r.MemoryReservation, "memory.soft_limit_in_bytes", itoa(r.MemoryReservation)}
		if err := n.set(s); err != nil {
			return err
		}
	}
	now, next, err := n.memoryLimits(r, update)
	if err != nil {
		return err
	}
	memory := setting{"Memory", r.Memory, "memory.limit_in_bytes", itoa(r.Memory)}
	swap := setting{"MemorySwap", r.MemorySwap, "memory.memsw.limit_in_bytes", itoa(r.MemorySwap)}
	order := []setting{memory, swap}
	if exceeds(next.memory, now.total) {
		order = []setting{swap, memory} // raise the bound first
	}
	for _, s := range order {
		if s.value == int64(0) {
			continue
		}
		err := n.set(s)
		if s.field == "MemorySwap" && r.MemorySwap == Unlimited && errors.Is(err, errors.ErrUnsupported) {
			err = nil // what is not counted has no limit
		}
		if err != nil {
			return n.adviseMemory(err)
		}
	}
	return nil
}

// memoryLimits are the limits of a group on memory, and on memory and swap together.
type memoryLimits struct{ memory, total int64 }

// memoryLimits returns what is in force and what r makes of it, and an error if that makes no sense. Both are Unlimited
// throughout for a new group.
func (n *node) memoryLimits(r *Resources, update bool) (now, next memoryLimits, err error) {
	now = memoryLimits{Unlimited, Unlimited}
	if update && (r.Memory != 0 || r.MemorySwap != 0) {
		if now, err = n.memoryLimitsNow(); err != nil {
			field, value := "Memory", r.Memory
			if value == 0 {
				field, value = "MemorySwap", r.MemorySwap
			}
			return now, next, fieldError(field, value, err)
		}
	}
	next = now
	if r.Memory != 0 {
		next.memory = r.Memory
	}
	if r.MemorySwap != 0 {
		next.total = r.MemorySwap
	}
	switch {
	case !exceeds(next.memory, next.total):
		return now, next, nil
	case r.MemorySwap == 0:
		return now, next, fieldError("Memory", r.Memory, fmt.Errorf(
			"is above the limit in force on memory and swap together, %d: set MemorySwap too", next.total))
	case next.memory == Unlimited:
		return now, next, fieldError("MemorySwap", r.MemorySwap, errors.New("needs a limit in Memory"))
	}
	return now, next, fieldError("MemorySwap", r.MemorySwap, fmt.Errorf("is below the memory limit, %d", next.memory))
}

func (n *node) memoryLimitsNow() (now memoryLimits, err error) {
	memory, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if n.h.unified {
		memory, swap = "memory.max", "memory.swap.max"
	}
	if now.memory, err = readNumber(n.fd(), memory); err != nil {
		return now, fmt.Errorf("read %s/%s: %w", n.path, memory, err)
	}
	now.total, err = readNumber(n.fd(), swap)
	switch {
	case errors.Is(err, fs.ErrNotExist): // swap is not counted
		now.total = Unlimited
	case err != nil:
		return now, fmt.Errorf("read %s/%s: %w", n.path, swap, err)
	case n.h.unified && (now.memory == Unlimited || now.total == Unlimited):
		now.total = Unlimited
	case n.h.unified:
		now.total += now.memory
	}
	return now, nil
}

// exceeds compares limits, of which Unlimited is the highest.
func exceeds(a, b int64) bool { return b != Unlimited && (a == Unlimited || a > b) }

// adviseMemory explains EBUSY, with which v1 refuses a limit below what is used.
func (n *node) adviseMemory(err error) error {
	var re *ResourceError
	if !errors.As(err, &re) || !errors.Is(err, unix.EBUSY) {
		return err
	}
	used, readErr := readNumber(n.fd(), "memory.usage_in_bytes")
	if readErr != nil {
		used = 0
	}
	re.Err = fmt.Errorf("%w: %w: it uses %d bytes that cannot be reclaimed", re.Err, ErrBusy, used)
	return err
}

// setMemory2 sets the limits on v2, where swap has a limit of its own.
func (n *node) setMemory2(r *Resources, update bool) error {
	only1 := *r
	if only1.OOMKillDisable != nil && !*only1.OOMKillDisable {
		only1.OOMKillDisable = nil // it never is disabled there
	}
	if w := only1.memory1Want(); w.field != "" {
		return n.onlyV1(w.field, w.value, w.controller)
	}
	_, next, err := n.memoryLimits(r, update)
	if err != nil {
		return err
	}
	if r.MemoryReservation != 0 {
		low := max(r.MemoryReservation, 0) // memory.low is a protection: lifting it is 0, not max
		s := setting{"MemoryReservation", r.MemoryReservation, "memory.low", itoa(low)}
		if err := n.set(s); err != nil {
			return err
		}
	}
	if r.OOMGroup {
		if err := n.set(setting{"OOMGroup", true, "memory.oom.group", "1"}); err != nil {
			return err
		}
	}
	if r.Memory != 0 {
		if update && r.Memory > 0 {
			if err := n.reclaim(r.Memory); err != nil {
				return fieldError("Memory", r.Memory, err)
			}
		}
		if err := n.set(setting{"Memory", r.Memory, "memory.max", limit(r.Memory)}); err != nil {
			return err
		}
	}
	// memory.swap.max is what swap adds to memory: it changes with either, so that the total stays what was asked for.
	s := setting{"MemorySwap", r.MemorySwap, "memory.swap.max", "max"}
	switch {
	case next.total != Unlimited:
		s.text = itoa(next.total - next.memory)
	case r.MemorySwap == 0:
		return nil
	}
	err = n.set(s)
	if s.text == "max" && errors.Is(err, errors.ErrUnsupported) {
		return nil // a kernel without swap
	}
	return err
}

// reclaim makes the group use no more than limit. Where v1 would refuse such a limit, v2's memory.max would have the
// OOM killer make room.
func (n *node) reclaim(limit int64) error {
	used, err := readNumber(n.fd(), "memory.current")
	if err != nil {
		return fmt.Errorf("read %s/memory.current: %w", n.path, err)
	}
	if used <= limit {
		return nil
	}
	// Linux ≥ 5.19; EAGAIN if less could be reclaimed. What counts is what is used then.
	_ = writeFile(n.fd(), "memory.reclaim", itoa(used-limit))
	if used, err = readNumber(n.fd(), "memory.current"); err != nil {
		return fmt.Errorf("read %s/memory.current: %w", n.path, err)
	}
	if used > limit {
		return fmt.Errorf("%w: it uses %d bytes that cannot be reclaimed", ErrBusy, used)
	}
	return nil
}
