package network

// index returns the network's index when what somebody who was killed has left half made is made whole.
func (c *change) index(name string) (*index, error) {
	x, err := c.s.index(name)
	if err == nil && x.torn() {
		err = c.mend(name, x)
	}
	return x, err
}

// mend makes the kernel's part of a network's ports as the documents tell, of which one may be ahead.
func (c *change) mend(name string, x *index) error {
	x.mu.Lock()
	x.seq ^= 1 << 32 // what is known already may have changed, too
	x.mu.Unlock()
	x, err := c.s.index(name)
	if err != nil {
		return err
	}
	if c.s.o.UserMode == nil {
		h, err := c.s.openHost()
		if err != nil {
			return err
		}
		if err := c.s.repairRules(h); err != nil {
			return err
		}
		for _, e := range x.list() {
			if e.HostInterface == "" || len(e.Ports) == 0 {
				continue
			}
			if err := h.hairpin(c, &e, true); err != nil && !isGone(err) {
				return err
			}
		}
	}
	done, err := c.s.changing(name, x, true)
	if err == nil {
		done()
	}
	return err
}
