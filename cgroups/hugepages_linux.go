package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
)

func (g *Group) applyHugepages(r *Resources) error {
	for _, h := range r.Hugepages {
		n, err := g.node("hugetlb")
		if err != nil {
			return fieldError(h.field(), h.Limit, err)
		}
		prefix, file, text := "hugetlb."+h.Size+".", "limit_in_bytes", itoa(h.Limit)
		if n.h.unified {
			file, text = "max", limit(h.Limit)
		}
		err = n.set(setting{h.field(), h.Limit, prefix + file, text})
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w (see /sys/kernel/mm/hugepages for the sizes of this machine)", err)
		}
		if err != nil {
			return err
		}
		err = n.set(setting{h.field(), h.Limit, prefix + "rsvd." + file, text})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
