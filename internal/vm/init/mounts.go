//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// switchRoot makes the disk the root file system. The initramfs is no mount that pivot_root could leave, so the disk
// is moved over it. The descriptors of the console stay as they are.
func switchRoot() error {
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil && err != unix.EBUSY {
		return err
	}
	var err error
	for range 1000 { // the device shows up a little after its driver
		if err = unix.Mount("/dev/vda", "/disk", "ext4", 0, "prjquota"); err != unix.ENOENT {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := unix.Unmount("/dev", 0); err != nil {
		return err
	}
	if err := os.Chdir("/disk"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

const (
	noExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	noDev  = unix.MS_NOSUID | unix.MS_NODEV
)

func mountAll(cgroup string) error {
	mounts := []mount{
		{"proc", "/proc", "proc", noExec, ""},
		{"sysfs", "/sys", "sysfs", noExec, ""},
		{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=000"},
		{"shm", "/dev/shm", "tmpfs", noDev, "mode=1777"},
		{"mqueue", "/dev/mqueue", "mqueue", noExec, ""},
		{"run", "/run", "tmpfs", noDev, "mode=755"},
	}
	mounts = append(mounts, hierarchies(cgroup)...)
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data)
		if m.kind == "cgroup" && errors.Is(err, unix.EINVAL) { // this kernel has the controller only on v2, or not at all
			_ = os.Remove(m.target)
			continue
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	// As systemd has it, which is what most machines look like.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

// hierarchies are the mounts of cgroups: the unified one, or one a controller, or both.
func hierarchies(cgroup string) []mount {
	if cgroup == "v2" {
		return []mount{{"cgroup2", "/sys/fs/cgroup", "cgroup2", noExec, "nsdelegate"}}
	}
	mounts := []mount{{"cgroup", "/sys/fs/cgroup", "tmpfs", noExec, "mode=755"}}
	for _, c := range []string{"cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
		"net_cls,net_prio", "hugetlb", "rdma"} {
		mounts = append(mounts, mount{"cgroup", "/sys/fs/cgroup/" + c, "cgroup", noExec, c})
	}
	if cgroup == "hybrid" {
		mounts = append(mounts, mount{"cgroup2", "/sys/fs/cgroup/unified", "cgroup2", noExec, ""})
	}
	return mounts
}
