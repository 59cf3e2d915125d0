package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (g *Group) applyDevices(r *Resources, update bool) error {
	rules := r.Devices
	if r.AllDevices || rules == nil && update {
		return nil
	}
	byDefault := rules == nil
	if byDefault {
		rules = DefaultDevices()
	}
	err := g.setDevices(rules, byDefault, update)
	if byDefault && errors.Is(err, fs.ErrPermission) && !privileged() {
		return nil
	}
	if err != nil {
		return fieldError("Devices", fmt.Sprintf("(%d rules)", len(rules)), err)
	}
	return nil
}

func (g *Group) setDevices(rules []DeviceRule, byDefault, update bool) error {
	if n, err := g.node("devices"); err == nil {
		if err := expressible1(rules); err != nil {
			return err
		}
		if update {
			return n.changeDevices1(rules)
		}
		return n.setDevices1(rules)
	}
	n := g.unified()
	if n == nil {
		_, err := g.m.controller("devices")
		return err
	}
	return n.attachDevices(rules, byDefault, update)
}

// privileged reports whether the program may be able to set device rules, and to make device nodes: it is root in the
// initial user namespace.
func privileged() bool {
	if os.Geteuid() != 0 {
		return false
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return err == nil && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}

// setDevices1 denies all and writes the rules, one at a time as the kernel demands.
func (n *node) setDevices1(rules []DeviceRule) error {
	deny, err := openat(n.fd(), "devices.deny", unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("open %s/devices.deny: %w", n.path, err)
	}
	defer unix.Close(deny)
	allow, err := openat(n.fd(), "devices.allow", unix.O_WRONLY)
	if err != nil {
		return fmt.Errorf("open %s/devices.allow: %w", n.path, err)
	}
	defer unix.Close(allow)
	for _, d := range append([]DeviceRule{{Type: 'a'}}, rules...) {
		fd := deny
		if d.Allow {
			fd = allow
		}
		err := n.m.step("device", n.path)
		if err == nil {
			err = writeValue(fd, d.entry())
		}
		if err != nil {
			return n.adviseDevice(d, err)
		}
	}
	return nil
}

func (n *node) adviseDevice(d DeviceRule, err error) error {
	err = fmt.Errorf("%s in %s: %w", d, n.path, err)
	switch {
	case errors.Is(err, unix.EPERM) && d.Allow:
		return fmt.Errorf("%w (a group above does not allow it, or CAP_SYS_ADMIN is missing)", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w (it needs CAP_SYS_ADMIN)", err, ErrNotDelegated)
	}
	return err
}

// changeDevices1 replaces the rules of a group with processes: never by denying all first, which would fail their
// opens for a moment, if that can be avoided.
func (n *node) changeDevices1(rules []DeviceRule) error {
	for _, d := range rules {
		if d.Type == 'a' || !d.Allow {
			return n.setDevices1(rules)
		}
	}
	b, err := readFile(n.fd(), "devices.list")
	if err != nil {
		return fmt.Errorf("read %s/devices.list: %w", n.path, err)
	}
	keep := make(map[string]bool, len(rules))
	for _, d := range rules {
		keep[d.entry()] = true
		if err := writeFile(n.fd(), "devices.allow", d.entry()); err != nil {
			return n.adviseDevice(d, err)
		}
	}
	for entry := range strings.Lines(string(b)) {
		entry = strings.TrimSpace(entry)
		if strings.HasPrefix(entry, "a") {
			return n.setDevices1(rules) // it allowed all so far
		}
		if keep[entry] {
			continue
		}
		if err := writeFile(n.fd(), "devices.deny", entry); err != nil {
			return fmt.Errorf("deny %s in %s: %w", entry, n.path, err)
		}
	}
	// Two rules about one device are one exception to the kernel: what was denied may have been part of what is allowed.
	for _, d := range rules {
		if err := writeFile(n.fd(), "devices.allow", d.entry()); err != nil {
			return n.adviseDevice(d, err)
		}
	}
	return nil
}
