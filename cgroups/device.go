package cgroups

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AnyDevice as a major or minor number stands for all numbers.
const AnyDevice int64 = -1

// A DeviceRule allows or denies access to device nodes.
type DeviceRule struct {
	Allow  bool
	Type   byte   // 'c' character, 'b' block, 'a' all devices: then Major, Minor and Access do not count
	Major  int64  // AnyDevice for all
	Minor  int64  // AnyDevice for all
	Access string // of "rwm": read, write, mknod; "" stands for "rwm"
}

// DefaultDevices returns the rules that a container gets by default, as Docker's: any device node may be made, but
// only null, zero, full, random, urandom, tty, console, ptmx and the terminals of devpts be opened.
func DefaultDevices() []DeviceRule {
	rules := []DeviceRule{
		{Allow: true, Type: 'c', Major: AnyDevice, Minor: AnyDevice, Access: "m"},
		{Allow: true, Type: 'b', Major: AnyDevice, Minor: AnyDevice, Access: "m"},
	}
	for _, d := range [][2]int64{
		{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, // null, zero, full, random, urandom
		{5, 0}, {5, 1}, {5, 2}, // tty, console, ptmx
		{136, AnyDevice}, // /dev/pts/N
	} {
		rules = append(rules, DeviceRule{Allow: true, Type: 'c', Major: d[0], Minor: d[1], Access: "rwm"})
	}
	return rules
}

// String returns the rule as the devices controller of v1 writes it, after "allow " or "deny ".
func (d DeviceRule) String() string {
	if d.Allow {
		return "allow " + d.entry()
	}
	return "deny " + d.entry()
}

// entry is the rule in the syntax of devices.allow and devices.deny.
func (d DeviceRule) entry() string {
	if d.Type == 'a' {
		return "a"
	}
	number := func(n int64) string {
		if n == AnyDevice {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return string(rune(d.Type)) + " " + number(d.Major) + ":" + number(d.Minor) + " " + d.access().String()
}

func (d DeviceRule) access() access {
	if d.Access == "" {
		return accessAll
	}
	var a access
	for i, c := range "mrw" {
		if strings.ContainsRune(d.Access, c) {
			a |= 1 << i
		}
	}
	return a
}

// access is a set of mknod, read and write, in the bits that the eBPF program's context has (BPF_DEVCG_ACC_*).
type access uint8

const (
	accessMknod access = 1 << iota
	accessRead
	accessWrite
	accessAll = accessMknod | accessRead | accessWrite
)

func (a access) String() string {
	s := ""
	for i, c := range "rwm" {
		if a&[...]access{accessRead, accessWrite, accessMknod}[i] != 0 {
			s += string(c)
		}
	}
	return s
}

// maxDeviceRules bounds the eBPF program, which has some ten instructions a rule, by the 4096 that any kernel takes.
const maxDeviceRules = 400

func (r *Resources) validateDevices() error {
	if r.AllDevices && r.Devices != nil {
		return fieldError("AllDevices", true, errors.New("excludes Devices"))
	}
	if len(r.Devices) > maxDeviceRules {
		return fieldError("Devices", fmt.Sprintf("with %d rules", len(r.Devices)),
			fmt.Errorf("has more than %d", maxDeviceRules))
	}
	for _, d := range r.Devices {
		if err := d.validate(); err != nil {
			return fieldError("Devices", fmt.Sprintf("rule %q", d.String()), err)
		}
	}
	return nil
}

func (d DeviceRule) validate() error {
	switch {
	case d.Type == 'a':
		return nil
	case d.Type != 'b' && d.Type != 'c':
		return errors.New("has a type that is not a, b or c")
	case d.Major < AnyDevice || d.Major > 1<<12-1:
		return errors.New("has a major number that is not from 0 to 4095")
	case d.Minor < AnyDevice || d.Minor > 1<<20-1:
		return errors.New("has a minor number that is not from 0 to 1048575")
	case strings.Trim(d.Access, "rwm") != "":
		return errors.New("has an access that is not of r, w and m")
	}
	return nil
}
