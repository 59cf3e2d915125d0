package network

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// parameters are the kernel parameters below /proc/sys/net, by a mount of proc that is nowhere in the tree. The kernel keeps what
// it found by a mount of proc in one list for all network namespaces, which it searches from end to end: at the
// thousandth container that takes as long as the rest of an attachment.
type parameters struct{ fd int }

// A mount is used so often: to give it back has the kernel wait for all processors, and its list grows.
const parametersUses = 64

// parameters returns the store's mount, which serves all network namespaces. The caller holds the store's lock.
func (s *Store) parameters() *parameters {
	if s.proc == nil || s.procUses == parametersUses {
		s.closeParameters()
		s.proc, s.procUses = openParameters(), 0
	}
	s.procUses++
	return s.proc
}

func (s *Store) closeParameters() {
	if s.proc != nil {
		s.proc.close()
		s.proc = nil
	}
}

// openParameters never fails: what cannot mount proc uses that of the machine (as Linux < 5.8 does in any case).
func openParameters() *parameters {
	fd, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return &parameters{-1}
	}
	defer unix.Close(fd)
	if err := unix.FsconfigCreate(fd); err != nil {
		return &parameters{-1}
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return &parameters{-1}
	}
	return &parameters{mount}
}

func (p *parameters) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// set sets a parameter of the calling thread's network namespace: a path below /proc/sys/net.
func (p *parameters) set(path, value string) error {
	dir, at := p.fd, "sys/net/"+path
	if dir < 0 {
		dir, at = unix.AT_FDCWD, "/proc/sys/net/"+path
	}
	fd, err := unix.Openat(dir, at, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("set kernel parameter: %w", &os.PathError{Op: "write", Path: "/proc/sys/net/" + path, Err: err})
	}
	return nil
}

// setFor sets what the kernel does of its own accord on the endpoint's interface, from a thread in the sandbox.
func (p *parameters) setFor(e *Endpoint) error {
	conf := "ipv6/conf/" + e.Interface + "/"
	if !e.IPv6.IsValid() {
		// Not even a link-local address, by which others could reach what should be reached by IPv4 alone.
		if err := p.set(conf+"disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	for _, set := range [][2]string{
		{"disable_ipv6", "0"}, {"accept_ra", "0"}, {"autoconf", "0"}, {"accept_redirects", "0"}, {"accept_dad", "0"},
		{"addr_gen_mode", "0"},
	} {
		if err := p.set(conf+set[0], set[1]); err != nil {
			return ipv6Error(err)
		}
	}
	return nil
}
