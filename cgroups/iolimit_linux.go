package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// ioController is the name of the controller for block devices: "blkio" where v1 has it, "io" on v2.
func (m *Manager) ioController() string {
	if m.controllers["blkio"] != nil {
		return "blkio"
	}
	return "io"
}

func (g *Group) applyIO(r *Resources) error {
	if r.IOWeight == 0 && len(r.IODevices) == 0 {
		return nil
	}
	n, err := g.node(g.m.ioController())
	if err != nil {
		w := r.ioWant("")
		return fieldError(w.field, w.value, err)
	}
	if r.IOWeight != 0 {
		if err := n.setIOWeight("IOWeight", r.IOWeight, ""); err != nil {
			return err
		}
	}
	for _, d := range r.IODevices {
		if d.Weight != 0 {
			if err := n.setIOWeight(d.field("Weight"), d.Weight, d.number()); err != nil {
				return err
			}
		}
		if n.h.unified {
			err = n.throttle2(d)
		} else {
			err = n.throttle1(d)
		}
		if err != nil {
			return adviseIODevice(err)
		}
	}
	return nil
}

// setIOWeight sets the group's weight, or if device is not empty that for the device. BFQ's file is there when its
// module is loaded, io.weight when the kernel has io.cost. Where v2 has both, either may be the one that counts.
func (n *node) setIOWeight(field string, weight uint16, device string) error {
	bfq, cost := itoa(int64(weight)), itoa(int64(IOWeight(weight)))
	s := []setting{{field, weight, "blkio.bfq.weight", bfq}}
	switch {
	case n.h.unified && device != "":
		s = []setting{{field, weight, "io.bfq.weight", device + " " + bfq}, {field, weight, "io.weight", device + " " + cost}}
	case n.h.unified:
		s = []setting{{field, weight, "io.bfq.weight", bfq}, {field, weight, "io.weight", "default " + cost}}
	case device != "":
		s = []setting{{field, weight, "blkio.bfq.weight_device", device + " " + bfq}}
	}
	var first error
	done := false
	for _, s := range s {
		err := n.set(s)
		switch {
		case err == nil:
			done = true
		case first == nil || errors.Is(first, fs.ErrNotExist):
			first = err
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return adviseIODevice(err)
		}
	}
	if done {
		return nil
	}
	return adviseIODevice(first)
}

// throttle1 sets the rates on v1, where 0 is no limit.
func (n *node) throttle1(d IODevice) error {
	for _, l := range rates {
		amount := l.amount(d)
		if amount == 0 {
			continue
		}
		text := d.number() + " " + itoa(max(amount, 0))
		if err := n.set(setting{d.field(l.field), amount, l.file, text}); err != nil {
			return err
		}
	}
	return nil
}

// throttle2 sets the rates on v2, where one write sets all.
func (n *node) throttle2(d IODevice) error {
	var s setting
	for _, l := range rates {
		amount := l.amount(d)
		if amount == 0 {
			continue
		}
		if s.text == "" {
			s = setting{d.field(l.field), amount, "io.max", d.number()}
		}
		s.text += " " + l.key + "=" + limit(amount)
	}
	if s.text == "" {
		return nil
	}
	return n.set(s)
}

// adviseIODevice explains what the kernel says about devices that are none.
func adviseIODevice(err error) error {
	var re *ResourceError
	if errors.As(err, &re) && strings.HasPrefix(re.Field, "IODevices") && errors.Is(err, unix.ENODEV) {
		re.Err = fmt.Errorf("%w (the number is that of a whole disk, see /proc/partitions)", re.Err)
	}
	return err
}

// ioWant is the field that needs the controller for block devices; none has an empty field.
func (r *Resources) ioWant(controller string) want {
	if r.IOWeight != 0 {
		return want{controller, "IOWeight", r.IOWeight}
	}
	for _, d := range r.IODevices {
		if d.Weight != 0 {
			return want{controller, d.field("Weight"), d.Weight}
		}
		for _, l := range rates {
			if amount := l.amount(d); amount != 0 {
				return want{controller, d.field(l.field), amount}
			}
		}
	}
	return want{controller: controller}
}
