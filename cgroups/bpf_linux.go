package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// programName marks our programs among those attached to a group; at most 15 bytes.
const programName = "caisson_dev"

// A deviceProgram keeps the program of the default rules, loaded once: attaching it costs a tenth of loading it.
type deviceProgram struct {
	mu     sync.Mutex
	fd     int // 0 is none
	closed bool
}

func (d *deviceProgram) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd > 0 {
		_ = unix.Close(d.fd)
	}
	d.fd, d.closed = 0, true
}

// get returns the default program, and whether the caller is to close it.
func (d *deviceProgram) get() (fd int, owned bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd > 0 {
		return d.fd, false, nil
	}
	fd, err = loadDeviceProgram(DefaultDevices())
	if err != nil || d.closed {
		return fd, true, err
	}
	d.fd = fd
	return fd, false, nil
}

// attachDevices puts an eBPF program for the rules on the group, in the place of one of ours that is there. It stays
// until the group is removed.
func (n *node) attachDevices(rules []DeviceRule, byDefault, update bool) error {
	if err := n.m.step("device", n.path); err != nil {
		return err
	}
	var old []int
	if update {
		var err error
		if old, err = ourPrograms(n.fd()); err != nil {
			return fmt.Errorf("query device programs of %s: %w", n.path, err)
		}
	}
	defer func() {
		for _, fd := range old {
			_ = unix.Close(fd)
		}
	}()
	var fd int
	var err error
	owned := true
	if byDefault {
		fd, owned, err = n.m.devices.get()
	} else {
		fd, err = loadDeviceProgram(rules)
	}
	if err != nil {
		return err
	}
	if owned {
		defer unix.Close(fd)
	}
	// Several programs must all agree, so between attaching the new and detaching the old, less is allowed, not more.
	if err := attachProgram(bpfProgAttach, n.fd(), fd, unix.BPF_F_ALLOW_MULTI); err != nil {
		return fmt.Errorf("attach device program to %s: %w", n.path, adviseBPF(err))
	}
	for _, o := range old {
		if err := attachProgram(bpfProgDetach, n.fd(), o, 0); err != nil {
			return fmt.Errorf("detach device program from %s: %w", n.path, adviseBPF(err))
		}
	}
	return nil
}

// Commands of bpf(2), and the type of program and attachment (linux/bpf.h).
const (
	bpfProgLoad      = 5
	bpfProgAttach    = 8
	bpfProgDetach    = 9
	bpfProgGetByID   = 13
	bpfObjGetInfo    = 15
	bpfProgQuery     = 16
	bpfTypeDevice    = 15
	bpfAttachDevice  = 6
	maxProgramsQuery = 64
)

// bpf calls bpf(2). attr is a pointer to the union's member for the command.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR, unix.EAGAIN: // EAGAIN: a signal came while the verifier ran
			continue
		}
		return -1, errno
	}
}

func loadDeviceProgram(rules []DeviceRule) (int, error) {
	code := encode(deviceProgramCode(rules))
	license := []byte("Apache-2.0\x00")
	attr := struct {
		progType, count       uint32
		instructions, license uint64
		logLevel, logSize     uint32
		logBuf                uint64
		version, flags        uint32
		name                  [16]byte
		ifindex, attachType   uint32
	}{
		progType: bpfTypeDevice, count: uint32(len(code) / 8), attachType: bpfAttachDevice,
		instructions: uint64(uintptr(unsafe.Pointer(&code[0]))),
		license:      uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	copy(attr.name[:15], programName)
	fd, err := bpf(bpfProgLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if err != nil {
		return -1, fmt.Errorf("load device program: %w", adviseBPF(err))
	}
	return fd, nil
}

func attachProgram(cmd, group, prog int, flags uint32) error {
	attr := struct{ target, prog, attachType, flags, replace uint32 }{
		target: uint32(group), prog: uint32(prog), attachType: bpfAttachDevice, flags: flags,
	}
	_, err := bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// ourPrograms returns descriptors of the device programs on the group that bear our name.
func ourPrograms(group int) (fds []int, err error) {
	var ids [maxProgramsQuery]uint32
	query := struct {
		target, attachType, flags, attachFlags uint32
		ids                                    uint64
		count, _                               uint32
	}{
		target: uint32(group), attachType: bpfAttachDevice,
		ids: uint64(uintptr(unsafe.Pointer(&ids))), count: maxProgramsQuery,
	}
	_, err = bpf(bpfProgQuery, unsafe.Pointer(&query), unsafe.Sizeof(query))
	runtime.KeepAlive(&ids)
	if err != nil {
		return nil, adviseBPF(err)
	}
	for _, id := range ids[:min(query.count, maxProgramsQuery)] {
		get := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(bpfProgGetByID, unsafe.Pointer(&get), unsafe.Sizeof(get))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			var ours bool
			if ours, err = isOurs(fd); err == nil && ours {
				fds = append(fds, fd)
				continue
			}
			_ = unix.Close(fd)
		}
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			return nil, adviseBPF(err)
		}
	}
	return fds, nil
}

func isOurs(prog int) (bool, error) {
	var info struct {
		_    [64]byte
		name [16]byte
	}
	get := struct {
		fd, size uint32
		info     uint64
	}{uint32(prog), uint32(unsafe.Sizeof(info)), uint64(uintptr(unsafe.Pointer(&info)))}
	_, err := bpf(bpfObjGetInfo, unsafe.Pointer(&get), unsafe.Sizeof(get))
	runtime.KeepAlive(&info)
	name, _, _ := bytes.Cut(info.name[:], []byte{0})
	return string(name) == programName, err
}

func adviseBPF(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w (it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN; before Linux 5.11 also "+
			"room in RLIMIT_MEMLOCK)", err, ErrNotDelegated)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: this kernel has no device programs (CONFIG_CGROUP_BPF): %w", err, errors.ErrUnsupported)
	}
	return err
}
