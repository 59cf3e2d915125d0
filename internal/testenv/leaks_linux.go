package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func systemKinds() []kind {
	return []kind{
		{"descriptor", descriptors()},
		{"mount", mounts()},
		{"cgroup", cgroups()},
		{"interface", interfaces()},
		{"process", children()},
	}
}

// descriptors returns the open descriptors. One that was closed and opened again as something else is a new one.
func descriptors() map[string]string {
	all := make(map[string]string)
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return all
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	own := strconv.Itoa(int(dir.Fd()))
	for _, name := range names {
		target, err := os.Readlink("/proc/self/fd/" + name)
		if name != own && err == nil {
			all[name+" "+target] = name + " -> " + target
		}
	}
	return all
}

// mounts returns the mounts of this process's namespace, without those in the temporary folder of another test binary
// that runs at the same time.
func mounts() map[string]string {
	all := make(map[string]string)
	for _, m := range mountinfo() {
		if !ofAnother(m.point) {
			all[m.id+" "+m.point] = m.line
		}
	}
	return all
}

type mount struct{ id, point, line string }

func mountinfo() []mount {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []mount
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 6 {
			all = append(all, mount{fields[0], fields[4], s.Text()})
		}
	}
	return all
}

// ofAnother says that path lies in the temporary folder of another test binary.
func ofAnother(path string) bool {
	return strings.Contains(path, "/"+tmpPrefix) && !strings.HasPrefix(path, os.TempDir()+"/")
}

// cgroups returns the groups with "caisson" in their path. Those of other test binaries cannot be told from ours by
// name alone, but theirs hold processes: only groups without a process count, and those that CgroupName named.
func cgroups() map[string]string {
	all := make(map[string]string)
	for _, m := range mountinfo() {
		if !strings.Contains(m.line, " - cgroup") {
			continue
		}
		_ = filepath.WalkDir(m.point, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // it went away
			}
			if !d.IsDir() || !strings.Contains(path, "caisson") {
				return nil
			}
			name := filepath.Base(path)
			if strings.Contains(name, cgroupPrefix) && !strings.Contains(name, ownCgroupPrefix()) {
				return fs.SkipDir
			}
			procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if strings.Contains(path, "/"+ownCgroupPrefix()) || (err == nil && len(procs) == 0) {
				all[path] = path
			}
			return nil
		})
	}
	return all
}

func interfaces() map[string]string {
	all := make(map[string]string)
	links, _ := net.Interfaces()
	for _, l := range links {
		all[strconv.Itoa(l.Index)+l.Name] = l.Name
	}
	return all
}

// children returns the child processes, zombies included.
func children() map[string]string {
	all := make(map[string]string)
	for _, c := range childProcesses() {
		id := strconv.Itoa(c.pid)
		all[id] = fmt.Sprintf("%d (%s) state %s", c.pid, c.name, c.state)
	}
	return all
}

type child struct {
	pid         int
	name, state string
}

func childProcesses() []child {
	self := strconv.Itoa(os.Getpid())
	names, _ := filepath.Glob("/proc/[0-9]*")
	var all []child
	for _, name := range names {
		stat, err := os.ReadFile(name + "/stat")
		if err != nil {
			continue // it went away
		}
		// pid (name) state ppid …: the name may hold anything, so its end is the last parenthesis.
		begin, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
		if begin < 0 || end < begin {
			continue
		}
		fields := strings.Fields(string(stat[end+1:]))
		if len(fields) < 2 || fields[1] != self {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(name))
		all = append(all, child{pid, string(stat[begin+1 : end]), fields[0]})
	}
	return all
}

// adoptOrphans makes this process the parent of descendants whose own parent ends, so that they are seen.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reap collects the children that ended, except those in keep, and returns the others that have not.
func reap(keep map[int]bool) (running []string) {
	for _, c := range childProcesses() {
		if keep[c.pid] {
			continue
		}
		if pid, err := unix.Wait4(c.pid, nil, unix.WNOHANG, nil); err == nil && pid == 0 {
			running = append(running, fmt.Sprintf("%d (%s)", c.pid, c.name))
		}
	}
	return running
}

// killChildren ends the children that were left: nobody else would.
func killChildren(keep map[int]bool) {
	for _, c := range childProcesses() {
		if !keep[c.pid] && unix.Kill(c.pid, unix.SIGKILL) == nil {
			_, _ = unix.Wait4(c.pid, nil, 0, nil)
		}
	}
}

// removeTmp deletes the tests' temporary folder. What is still mounted there is unmounted before, so that nothing is
// deleted on the other side of a mount.
func removeTmp(tmp string) error {
	all := mountinfo()
	for i := len(all) - 1; i >= 0; i-- {
		if !strings.HasPrefix(all[i].point, tmp+"/") {
			continue
		}
		err := unix.Unmount(all[i].point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", all[i].point, err)
		}
	}
	for _, m := range mountinfo() {
		if strings.HasPrefix(m.point, tmp+"/") {
			return fmt.Errorf("%s is still mounted; %s is left", m.point, tmp)
		}
	}
	return os.RemoveAll(tmp)
}
