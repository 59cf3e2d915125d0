package peers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func helperPrograms() map[string]testenv.Program {
	return map[string]testenv.Program{"machine-init": machineInit}
}

// User is the ordinary user of a machine, who has sub-ids.
const (
	userName = "peer"
	userID   = 4242
)

// machineInit is a machine's first process. Its arguments are the control groups (type,options,mount point,group), "--"
// and the command to run. It makes the machine, starts the command, reaps, and ends with it or with its input.
func machineInit(args []string) int {
	runtime.LockOSThread() // the control groups' namespace is a thread's, and inherited
	at := slices.Index(args, "--")
	if err := makeMachine(args[1:at]); err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		return 125
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(124)
	}()
	command := args[at+1:]
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		return 125
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		return 125
	}
	pid, err := syscall.ForkExec(self, append([]string{self}, command[1:]...),
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), 1, 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		return 125
	}
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "machine: wait:", err)
			return 125
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal())
		case ended == pid:
			return status.ExitStatus()
		}
	}
}

func makeMachine(groups []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, g := range groups {
		file := "cgroup.procs"
		if err := os.WriteFile(filepath.Join(strings.Split(g, ",")[3], file), []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare control groups: %w", err)
	}
	steps := []func() error{
		func() error { return unix.Sethostname([]byte("machine")) },
		func() error { return replace("proc", "/proc") },
		func() error { return replace("sysfs", "/sys") },
		func() error { return mountGroups(groups) },
		func() error { return mount("tmpfs", "/run", "mode=755") },
		func() error { return mount("tmpfs", "/dev/shm", "mode=1777") },
		func() error { return mount("tmpfs", "/var/lib", "mode=755") },
		makeUsers,
		upLoopback,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// replace mounts a file system in the place of one and all that is mounted there.
func replace(fstype, at string) error {
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", at, err)
	}
	return mount(fstype, at, "")
}

func mount(fstype, at, options string) error {
	if err := unix.Mount(fstype, at, fstype, 0, options); err != nil {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

// mountGroups mounts the hierarchies where they were, with the machine's own group as the root of each.
func mountGroups(groups []string) error {
	for i, g := range groups {
		f := strings.Split(g, ",")
		fstype, options, point := f[0], strings.ReplaceAll(f[1], "+", ","), f[2]
		if i == 0 && point != "/sys/fs/cgroup" {
			if err := mount("tmpfs", "/sys/fs/cgroup", "mode=755"); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(point, 0o755); err != nil {
			return err
		}
		if err := mount(fstype, point, options); err != nil {
			return err
		}
	}
	return nil
}

// makeUsers adds the ordinary user to the machine's users, with a folder for what runs and a home.
func makeUsers() error {
	home, runtimeDir := "/var/lib/"+userName, fmt.Sprintf("/run/user/%d", userID)
	for _, dir := range []string{home, runtimeDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chown(dir, userID, userID); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	// All of /etc: a bind of one file would go when somebody outside renames another to its name.
	if out, err := exec.Command("cp", "-a", "/etc", "/run/etc").CombinedOutput(); err != nil {
		return fmt.Errorf("copy /etc: %w\n%s", err, out)
	}
	if err := unix.Mount("/run/etc", "/etc", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /etc: %w", err)
	}
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", userName, userID, userID, home),
		"group":  fmt.Sprintf("%s:x:%d:\n", userName, userID),
		"subuid": userName + ":200000:65536\ncontainers:300000:1048576\n",
		"subgid": userName + ":200000:65536\ncontainers:300000:1048576\n",
	} {
		path := "/etc/" + file
		var had []byte
		if !strings.HasPrefix(file, "sub") {
			var err error
			if had, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, append(had, line...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
