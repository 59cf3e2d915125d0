package volume

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/namespace"
)

// Mount mounts the file system of a volume whose Mount is [Mount.Foreign], and returns what attaches it to a container, but for its target.
// The mount is detached, so that it is nowhere among the host's and goes with its last user, whoever is killed; containers that use
// the volume at the same time share the file system, as the kernel has it. It is made in the network namespace of the calling program. A
// host in the option addr, or of the device of type nfs and cifs, is looked up. It takes root, and the errors name the option that the
// kernel refuses. ctx bounds the waiting: what a server answers after that is given up when it comes. The caller closes the mount's Root.
func (u *Use) Mount(ctx context.Context) (namespace.Mount, error) {
	m := u.Volume.Mount
	if !m.Foreign() {
		return namespace.Mount{}, fmt.Errorf("mount volume %s: it is no file system of its own: %w", u.Volume.Name, errors.ErrUnsupported)
	}
	attach, err := m.mount(ctx, "volume "+u.Volume.Name)
	if err != nil {
		return namespace.Mount{}, fmt.Errorf("failed to mount local volume: mount %s:%s, type %s: %w", m.Device, u.Volume.Path, m.Type, err)
	}
	return attach, nil
}

func (m *Mount) mount(ctx context.Context, name string) (namespace.Mount, error) {
	attach := namespace.Mount{Type: m.Type}
	if err := attach.SetOptions(strings.Split(m.Options, ",")...); err != nil {
		return attach, err
	}
	options, err := m.resolve(ctx, attach.Data)
	if err != nil {
		return attach, err
	}
	if attach.TopFlags&namespace.ReadOnly != 0 {
		options = append(options, "ro") // the file system itself, too
	}
	type made struct {
		fd  int
		err error
	}
	done := make(chan made, 1)
	go func() {
		fd, err := mountDetached(m.Type, m.Device, options)
		done <- made{fd, err}
	}()
	var got made
	select {
	case got = <-done:
	case <-ctx.Done():
		go func() {
			if late := <-done; late.err == nil {
				_ = unix.Close(late.fd)
			}
		}()
		return attach, context.Cause(ctx)
	}
	if got.err != nil {
		return attach, got.err
	}
	attach.Type, attach.Data, attach.Root = "bind", "", namespace.Detached(os.NewFile(uintptr(got.fd), name), name, nil)
	return attach, nil
}

// resolve looks up the server of a network's file system, as mount.nfs and mount.cifs do: the kernel knows no names.
func (m *Mount) resolve(ctx context.Context, data string) ([]string, error) {
	var options []string
	if data != "" {
		options = strings.Split(data, ",")
	}
	host, at := "", -1
	switch {
	case strings.HasPrefix(m.Type, "nfs"):
		if before, _, ok := strings.Cut(m.Device, "]:"); ok && strings.HasPrefix(before, "[") {
			host = before[1:]
		} else {
			host, _, _ = strings.Cut(m.Device, ":") // as the kernel does
		}
	case m.Type == "cifs" || m.Type == "smb3":
		host, _, _ = strings.Cut(strings.TrimPrefix(strings.ReplaceAll(m.Device, `\`, "/"), "//"), "/")
	default:
		return options, nil
	}
	for i, o := range options {
		if name, value, _ := strings.Cut(o, "="); name == "addr" || name == "ip" && !strings.HasPrefix(m.Type, "nfs") {
			host, at = value, i
		}
	}
	if host == "" {
		return nil, fmt.Errorf(`option "addr": the server's address is missing`)
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("address of %q: %w", host, err)
		}
		a = preferred(found)
	}
	if at < 0 {
		return append(options, "addr="+a.String()), nil
	}
	options[at] = "addr=" + a.String()
	return options, nil
}

// preferred is the address of a server to take: one of IPv4 if there is one, as Docker's driver does, since many servers of names that have
// both answer there alone.
func preferred(found []netip.Addr) netip.Addr {
	i := slices.IndexFunc(found, func(a netip.Addr) bool { return a.Unmap().Is4() })
	return found[max(0, i)].Unmap()
}

// mountDetached makes a mount of a file system, attached nowhere.
func mountDetached(kind, device string, options []string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENODEV) {
		return -1, fmt.Errorf("this kernel has no file system %s: %w: %w", kind, err, errors.ErrUnsupported)
	}
	if errors.Is(err, unix.EPERM) {
		return -1, fmt.Errorf("%w (it takes root)", err)
	}
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, o := range append([]string{"source=" + device}, options...) {
		key, value, ok := strings.Cut(o, "=")
		switch {
		case o == "":
			continue
		case ok:
			err = unix.FsconfigSetString(fs, key, value)
		default:
			err = unix.FsconfigSetFlag(fs, o)
		}
		if err != nil {
			if strings.HasPrefix(key, "pass") {
				o = key
			}
			return -1, fmt.Errorf("option %q: %w%s", o, err, said(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		if errors.Is(err, unix.ENOTBLK) {
			return -1, fmt.Errorf("%s is no block device: %w", device, err)
		}
		return -1, fmt.Errorf("%w%s", err, said(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	return fd, os.NewSyscallError("fsmount", err)
}

// said is what the kernel says of an error in the log of a file system that is being made.
func said(fs int) string {
	var all []string
	b := make([]byte, 1024)
	for range 8 {
		n, err := unix.Read(fs, b)
		if err != nil || n < 3 {
			break
		}
		all = append(all, strings.TrimSpace(string(b[2:n])))
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, "; ") + ")"
}
