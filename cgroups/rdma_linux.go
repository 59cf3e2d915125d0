package cgroups

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func (g *Group) applyRDMA(r *Resources) error {
	for _, l := range r.RDMA {
		s := setting{file: "rdma.max", text: l.Device}
		for _, f := range []struct {
			name, key string
			amount    int64
		}{{"Handles", "hca_handle", l.Handles}, {"Objects", "hca_object", l.Objects}} {
			if f.amount == 0 {
				continue
			}
			if s.field == "" {
				s.field, s.value = l.field(f.name), f.amount
			}
			s.text += " " + f.key + "=" + limit(f.amount)
		}
		if s.field == "" {
			continue
		}
		err := g.set("rdma", s)
		if errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("%w (see /sys/class/infiniband for the devices of this machine)", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) applyNetwork(r *Resources) error {
	if r.NetClass != nil {
		s := setting{"NetClass", *r.NetClass, "net_cls.classid", itoa(int64(*r.NetClass))}
		if err := g.set("net_cls", s); err != nil {
			return err
		}
	}
	for _, p := range r.NetPriorities {
		s := setting{p.field(), p.Priority, "net_prio.ifpriomap", p.Interface + " " + itoa(int64(p.Priority))}
		if err := g.set("net_prio", s); err != nil {
			return err
		}
	}
	return nil
}
