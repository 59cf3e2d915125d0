package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/namespace"
)

// A volume's size is bounded by a project quota: its folder and all that is made in it belong to a project of its own,
// whose blocks the file system counts (ext4 with the features quota and project, mounted with prjquota; xfs mounted with
// prjquota). The number of the project is kept by the folder itself.

const (
	quotaName = ".quota" // locked while a project is chosen

	// Projects are chosen from these, which administrators and others that number by hand do not use.
	minProject = 1 << 20
	maxProject = 1<<31 - 1

	// Of <linux/quota.h>: commands of quotactl(2), shifted, with the type for projects.
	getProjectQuota = 0x800007<<8 | 2
	setProjectQuota = 0x800008<<8 | 2
	spaceLimits     = 1 // QIF_BLIMITS

	// Of <linux/fs.h>.
	getAttributes  = 0x801c581f // FS_IOC_FSGETXATTR
	setAttributes  = 0x401c5820 // FS_IOC_FSSETXATTR
	projectInherit = 0x200      // FS_XFLAG_PROJINHERIT
)

// A quota is struct if_dqblk.
type quota struct {
	spaceHard, spaceSoft   uint64 // of 1024 bytes
	space                  uint64 // bytes
	inodesHard, inodesSoft uint64
	inodes                 uint64
	spaceTime, inodesTime  uint64
	valid                  uint32
	_                      uint32
}

// A fileAttributes is struct fsxattr.
type fileAttributes struct {
	flags, extSize, extents, project, cowExtSize uint32
	_                                            [8]byte
}

var errNoQuota = fmt.Errorf("the file system keeps no project quotas: it takes xfs or ext4 (features quota and project) mounted "+
	"with prjquota, on Linux 5.14 or newer: %w", errors.ErrUnsupported)

// limit gives an empty folder a project of its own, which all that is made in it inherits, and bounds its size.
func (s *Store) limit(dir string, size int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	l, err := durable.Acquire(ctx, s.path(quotaName), true)
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	project, err := freeProject(f)
	if err != nil {
		return err
	}
	if err := setProject(f, project); err != nil {
		return err
	}
	return setQuota(f, project, size)
}

// freeProject returns a project that has neither a limit nor files.
func freeProject(f *os.File) (uint32, error) {
	for range 64 {
		project := minProject + rand.Uint32N(maxProject-minProject)
		var q quota
		err := quotactl(f, getProjectQuota, project, &q)
		if errors.Is(err, unix.ENOENT) || err == nil && q.spaceHard|q.spaceSoft|q.space|q.inodes|q.inodesHard == 0 {
			return project, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no free project")
}

func setQuota(f *os.File, project uint32, size int64) error {
	q := quota{spaceHard: (uint64(size) + 1023) / 1024, valid: spaceLimits}
	return quotactl(f, setProjectQuota, project, &q)
}

func quotactl(f *os.File, cmd int, project uint32, q *quota) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), uintptr(uint32(cmd)), uintptr(project), uintptr(unsafe.Pointer(q)), 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOSYS, unix.ESRCH, unix.ENOTSUP, unix.EINVAL, unix.ENOTBLK, unix.ENODEV:
		return errNoQuota
	}
	return fmt.Errorf("quotactl: %w", errno)
}

// projectOf returns a folder's project, 0 if it has none or its file system knows none.
func projectOf(f *os.File) uint32 {
	var a fileAttributes
	if ioctl(f, getAttributes, &a) != nil || a.flags&projectInherit == 0 {
		return 0
	}
	return a.project
}

func setProject(f *os.File, project uint32) error {
	var a fileAttributes
	err := ioctl(f, getAttributes, &a)
	if err == nil {
		a.project = project
		a.flags |= projectInherit
		err = ioctl(f, setAttributes, &a)
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOTSUP) {
		return errNoQuota
	}
	if err != nil {
		return fmt.Errorf("set project: %w", err)
	}
	return nil
}

func ioctl(f *os.File, cmd uintptr, a *fileAttributes) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), cmd, uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}

// sameProject puts a folder that will be moved into a volume's into its project, without which a file system with
// quotas refuses the move.
func sameProject(dir, as string) error {
	from, err := os.Open(as)
	if err != nil {
		return err
	}
	defer from.Close()
	project := projectOf(from)
	if project == 0 {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return setProject(f, project)
}

// deleteVolume deletes a volume's folder, and the limit of its project.
func deleteVolume(dir string) error {
	f, err := os.Open(filepath.Join(dir, dataName))
	if err != nil {
		// What is closed to an ordinary user belongs to one of its subordinate ids, and has no project.
		if !errors.Is(err, fs.ErrNotExist) && (namespace.Privileged() || !errors.Is(err, fs.ErrPermission)) {
			return errors.Join(err, namespace.RemoveAll(dir))
		}
		return namespace.RemoveAll(dir)
	}
	defer f.Close()
	err = namespace.RemoveAll(dir)
	if project := projectOf(f); project >= minProject {
		err = errors.Join(err, setQuota(f, project, 0))
	}
	return err
}
