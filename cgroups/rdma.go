package cgroups

import (
	"errors"
	"fmt"
	"strings"
)

// An RDMALimit bounds what a group has of an RDMA device. Of each limit, 0 sets none and Unlimited lifts one.
type RDMALimit struct {
	Device  string // "mlx5_0"
	Handles int64  // HCA handles
	Objects int64  // HCA objects
}

func (l RDMALimit) field(name string) string { return "RDMA[" + l.Device + "]." + name }

// maxRDMA is the most that the kernel takes.
const maxRDMA = 1<<31 - 1

func (r *Resources) validateRDMA() error {
	for _, l := range r.RDMA {
		if l.Device == "" || len(l.Device) > 64 || strings.ContainsAny(l.Device, " \t\n\x00=/") {
			return fieldError("RDMA", fmt.Sprintf("%.80q", l.Device), errors.New("is not the name of a device"))
		}
		for name, amount := range map[string]int64{"Handles": l.Handles, "Objects": l.Objects} {
			if amount < Unlimited || amount > maxRDMA {
				return fieldError(l.field(name), amount, fmt.Errorf("is not from 1 to %d", maxRDMA))
			}
		}
	}
	return nil
}

// A NetPriority is the priority that packets get which leave through a network interface of the host.
type NetPriority struct {
	Interface string
	Priority  uint32
}

func (p NetPriority) field() string { return "NetPriorities[" + p.Interface + "]" }

func (r *Resources) validateNetwork() error {
	for _, p := range r.NetPriorities {
		if p.Interface == "" || len(p.Interface) > 15 || strings.ContainsAny(p.Interface, " \t\n\x00/") {
			return fieldError("NetPriorities", fmt.Sprintf("%.80q", p.Interface),
				errors.New("is not the name of a network interface"))
		}
	}
	return nil
}
