package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// A giver gives files to a user's subordinate ids, and opens and moves what belongs to them, for an ordinary user's program: by a
// deputy in a user namespace, which is started when it is first needed. A nil one is root's.
type giver struct {
	ctx context.Context

	mu     sync.Mutex
	deputy *namespace.Deputy
}

// newGiver returns nil for root's program.
func newGiver(ctx context.Context) *giver {
	if namespace.Privileged() {
		return nil
	}
	return &giver{ctx: context.WithoutCancel(ctx)}
}

func (g *giver) close() {
	if g != nil && g.deputy != nil {
		_ = g.deputy.Close()
	}
}

func (g *giver) helper() (*namespace.Deputy, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deputy != nil {
		return g.deputy, nil
	}
	d, err := namespace.NewDeputy(g.ctx, nil, nil)
	if err == nil {
		g.deputy = d
	}
	return d, err
}

// or makes the call in the user namespace if the program itself was not allowed to.
func (g *giver) or(err error, nr int, args ...any) error {
	if g == nil || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return err
	}
	d, err := g.helper()
	if err == nil {
		_, err = d.Call(nr, args...)
	}
	return err
}

// open is openat, for what may be closed to the program.
func (g *giver) open(dir int, name string, flags int) (*os.File, error) {
	flags |= unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	if g == nil || !errors.Is(err, unix.EACCES) {
		return nil, err
	}
	d, err := g.helper()
	if err != nil {
		return nil, err
	}
	var at any = namespace.Descriptor(dir)
	if dir == unix.AT_FDCWD {
		at = dir
	}
	return d.Open(name, unix.SYS_OPENAT, at, name, flags)
}

// getxattr reads an attribute of an open file in the user namespace.
func (g *giver) getxattr(f *os.File, name string, b []byte) (int, error) {
	d, err := g.helper()
	if err != nil {
		return 0, err
	}
	return d.Call(unix.SYS_FGETXATTR, namespace.Descriptor(f.Fd()), name, b, len(b))
}

// attributes is copyAttributes. The owner comes last: then the program may do little with the file.
func (g *giver) attributes(src, dst *os.File, st *unix.Stat_t) error {
	if g == nil {
		return copyAttributes(nil, src, dst, st)
	}
	var own unix.Stat_t
	if err := unix.Fstat(int(dst.Fd()), &own); err != nil {
		return err
	}
	kept := *st
	kept.Uid, kept.Gid = own.Uid, own.Gid
	if err := copyAttributes(g, src, dst, &kept); err != nil {
		return err
	}
	if own.Uid == st.Uid && own.Gid == st.Gid {
		return g.capabilities(src, dst, st)
	}
	d, err := g.helper()
	if err != nil {
		return err
	}
	uids, gids := d.Mappings()
	uid, ok := namespace.ContainerID(uids, st.Uid)
	gid, ok2 := namespace.ContainerID(gids, st.Gid)
	if !ok || !ok2 {
		return unix.EPERM
	}
	if _, err := d.Call(unix.SYS_FCHOWNAT, namespace.Descriptor(dst.Fd()), "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o6000 != 0 { // which the change of owner has taken away
		if _, err = d.Call(unix.SYS_FCHMOD, namespace.Descriptor(dst.Fd()), st.Mode&0o7777); err != nil {
			return err
		}
	}
	return g.capabilities(src, dst, st)
}

// capabilities gives a file the capabilities that the other one has in the user's namespaces, which only somebody in one may
// do. Those that it has on the host are in force in none of the user's containers.
func (g *giver) capabilities(src, dst *os.File, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	value, err := xattr(func(b []byte) (int, error) { return unix.Getxattr(procPath(src), capabilityXattr, b) })
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	var d *namespace.Deputy
	if err == nil {
		d, err = g.helper()
	}
	if err == nil {
		if value = d.FileCapabilities(value); value == nil {
			return nil
		}
		_, err = d.Call(unix.SYS_FSETXATTR, namespace.Descriptor(dst.Fd()), capabilityXattr, value, len(value), 0)
	}
	if err != nil {
		return fmt.Errorf("keep the file's capabilities: %w", err)
	}
	return nil
}

const capabilityXattr = "security.capability"
