package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Check looks whether everything in the store and in the kernel is as it should be, and returns what is not. It waits for
// others who change networks, until ctx ends.
func (s *Store) Check(ctx context.Context) error {
	c, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	defer c.Close()
	entries, err := os.ReadDir(s.docs.Dir)
	if err != nil {
		return fmt.Errorf("check networks: %w", err)
	}
	var errs []error
	used := false
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if err := CheckName(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.path(name), err))
			continue
		}
		n, err := s.read(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", name, err))
			continue
		}
		some, err := s.checkNetwork(n)
		used = used || some
		if err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", name, err))
		}
	}
	if used && s.o.UserMode == nil {
		errs = append(errs, s.checkRules(), s.checkPorts())
	}
	return errors.Join(errs...)
}

func (s *Store) checkNetwork(n *Network) (used bool, err error) {
	x, err := s.index(n.Name)
	if err != nil {
		return false, err
	}
	links, err := s.ourLinks()
	if err != nil {
		return false, err
	}
	var errs []error
	all := x.list()
	if x.torn() && len(all) > 0 {
		errs = append(errs, errors.New("somebody was killed who changed its endpoints"))
	}
	for _, e := range all {
		if e.Sandbox == "" {
			errs = append(errs, fmt.Errorf("endpoint %s cannot be read", e.ID))
		} else if !s.alive(&e, links) {
			errs = append(errs, fmt.Errorf("endpoint %s: its sandbox %s is gone", e.ID, e.Sandbox))
		}
	}
	if s.o.UserMode == nil && n.Driver == Bridge && len(all) > 0 != links[n.Interface] {
		errs = append(errs, fmt.Errorf("%d endpoints, and that bridge %s is there is %t", len(all), n.Interface, links[n.Interface]))
	}
	if s.o.UserMode == nil && n.Driver == Bridge {
		errs = append(errs, checkLeaves(n, all, links))
	}
	return n.Driver == Bridge && len(all) > 0, errors.Join(errs...)
}

// checkRules compares the rules and the elements with what they should be.
func (s *Store) checkRules() error {
	h, err := s.openHost()
	if err != nil {
		return err
	}
	whole, err := h.rules.whole()
	if err != nil {
		return err
	}
	if !whole {
		return fmt.Errorf("the nftables tables %s are not whole: somebody flushed them", s.table)
	}
	want := make(map[string]map[string]string)
	elements, err := s.elements()
	if err != nil {
		return err
	}
	for _, name := range s.guarded().Interfaces {
		elements = append(elements, element{set: "guarded", key: ifname(name)})
	}
	for _, e := range elements {
		if want[e.set] == nil {
			want[e.set] = make(map[string]string)
		}
		want[e.set][string(e.key)+string(e.end)] = string(e.val)
	}
	var errs []error
	for _, t := range h.rules.tables() {
		for _, set := range t.sets {
			if set.learned() {
				continue
			}
			have, err := h.rules.conn.GetSetElements(h.rules.set(set.name))
			if err != nil {
				return fmt.Errorf("list nftables set %s: %w", set.name, err)
			}
			found := make(map[string]string)
			for _, e := range have {
				found[string(e.Key)+string(e.KeyEnd)] = string(e.Val)
			}
			for key, val := range want[set.name] {
				if got, ok := found[key]; !ok || got != val {
					errs = append(errs, fmt.Errorf("nftables set %s lacks %q", set.name, key))
				}
			}
			for key := range found {
				if _, ok := want[set.name][key]; !ok {
					errs = append(errs, fmt.Errorf("nftables set %s has %q, which is nobody's", set.name, key))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// Repair takes back what is nobody's, makes the nftables tables anew if they are not as they should be, and tells bridges again what is at
// their ports.
func (s *Store) Repair(ctx context.Context) error {
	c, err := s.lock(ctx)
	if err != nil {
		return fmt.Errorf("repair networks: %w", err)
	}
	defer c.Close()
	if err := s.reclaim(ctx); err != nil {
		return fmt.Errorf("repair networks: %w", err)
	}
	if s.o.UserMode != nil {
		return nil
	}
	h, err := s.openHost()
	if err != nil {
		return fmt.Errorf("repair networks: %w", err)
	}
	if err := errors.Join(s.repairRules(h), s.repairPorts(h)); err != nil {
		return fmt.Errorf("repair networks: %w", err)
	}
	return nil
}

// repairRules makes the tables anew if they are not as they should be.
func (s *Store) repairRules(h *host) error {
	idle, err := s.idle()
	switch {
	case err != nil:
		return err
	case idle:
		return s.dropTables(h)
	case s.checkRules() != nil:
		return h.rules.restore(s)
	}
	return nil
}
