package network

import (
	"errors"
	"io/fs"
	"os"

	"github.com/caisson-engine/caisson/internal/durable"
)

// tablesName is the file that says that the tables were made. They stay while a store is open, since the next container is
// attached in half the time then, and go when the last one that is closed finds nothing attached.
const tablesName = ".tables"

// leave deletes the tables if nothing is in them that anybody needs, unless somebody is at work: who is closes its store after that.
// The caller holds s.mu.
func (s *Store) leave() error {
	if s.o.UserMode != nil {
		return nil
	}
	if _, err := os.Lstat(s.path(tablesName)); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	l, held, err := durable.TryAcquire(s.path(lockName), true)
	if err != nil || held {
		return ignore(err, fs.ErrNotExist)
	}
	defer l.Close()
	idle, err := s.idle()
	if err != nil || !idle {
		return err
	}
	h, err := s.openHost()
	if err != nil {
		return err
	}
	return s.dropTables(h)
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// dropTables deletes the tables, if they are there. The caller holds the store's lock.
func (s *Store) dropTables(h *host) error {
	if _, err := os.Lstat(s.path(tablesName)); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	if err := h.rules.drop(); err != nil {
		return err
	}
	return ignore(os.Remove(s.path(tablesName)), fs.ErrNotExist)
}

// idle tells whether nothing is attached to a bridge, and no interface of the host is guarded. The caller holds the store's lock.
func (s *Store) idle() (bool, error) {
	if len(s.guarded().Interfaces) > 0 {
		return false, nil
	}
	names, err := s.docs.Names()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		x, err := s.index(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || x.bridged() {
			return false, err
		}
	}
	return true, nil
}

// bridged tells whether an endpoint is a port of a bridge.
func (x *index) bridged() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.all {
		if e.HostInterface != "" {
			return true
		}
	}
	return false
}
