package namespace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// JoinedMappings returns the maps of a user namespace that ns, a descriptor of it or a pidfd, stands for: HostID is as this
// program sees ids. The kernel shows them by a process in the namespace; without one that this program sees, one of its own
// enters it, which takes CAP_SYS_ADMIN there.
func JoinedMappings(ns *os.File) (uids, gids []IDMapping, err error) {
	dir := ""
	if pid, e := pidOf(ns); e == nil && pid > 0 {
		dir = fmt.Sprintf("/proc/%d", pid)
	} else if dir, err = processIn(ns); errors.Is(err, fs.ErrNotExist) {
		if uids, gids, err = enterForMaps(ns); err != nil {
			err = fmt.Errorf("maps of user namespace: %w", err)
		}
		return uids, gids, err
	} else if err != nil {
		return nil, nil, fmt.Errorf("maps of user namespace: %w", err)
	}
	uids, err = readMap(dir + "/uid_map")
	if err == nil {
		gids, err = readMap(dir + "/gid_map")
	}
	if err == nil && pidfdEnded(ns) { // the number may be another process's by now
		err = os.ErrProcessDone
	}
	if err != nil {
		return nil, nil, fmt.Errorf("maps of user namespace: %w", err)
	}
	return uids, gids, nil
}

// pidfdEnded says whether f is the pidfd of a process that has ended.
func pidfdEnded(f *os.File) (done bool) {
	_ = withDescriptor(f, func(fd int) error {
		done = unix.PidfdSendSignal(fd, 0, nil, 0) == unix.ESRCH
		return nil
	})
	return done
}

// processIn finds the folder in /proc of a process that is in the user namespace.
func processIn(ns *os.File) (string, error) {
	var want unix.Stat_t
	if err := withDescriptor(ns, func(fd int) error { return unix.Fstat(fd, &want) }); err != nil {
		return "", err
	}
	names, err := filepath.Glob("/proc/[0-9]*/ns/user")
	if err != nil {
		return "", err
	}
	for _, name := range append([]string{"/proc/self/ns/user"}, names...) {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino {
			return filepath.Dir(filepath.Dir(name)), nil
		}
	}
	return "", fs.ErrNotExist
}

func readMap(path string) ([]IDMapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	var maps []IDMapping
	for line := range strings.Lines(string(b)) {
		var m IDMapping
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", path, errors.Join(err, fs.ErrInvalid))
		}
		maps = append(maps, m)
	}
	return maps, nil
}
