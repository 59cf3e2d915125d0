//go:build linux

// Command init is the first program of the machine that the command vm boots: it loads modules, makes the disk the
// root file system, mounts what a Linux system has, runs the tests and turns the machine off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/vm/job"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run() error {
	if os.Getpid() != 1 {
		return runAgain()
	}
	kept, err := loadModules()
	if err != nil {
		return err
	}
	if err := switchRoot(); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	j, err := readJob()
	if err != nil {
		return err
	}
	if err := errors.Join(furnish(), keepModules(kept)); err != nil {
		return err
	}
	if j.Systemd {
		return startSystemd()
	}
	if err := mountAll(j.Cgroup); err != nil {
		return err
	}
	return runAll(j)
}

func readJob() (*job.Job, error) {
	text, err := os.ReadFile(job.File)
	if err != nil {
		return nil, err
	}
	j := &job.Job{}
	return j, json.Unmarshal(text, j)
}

// runAll runs the tests and reports how they ended.
func runAll(j *job.Job) error {
	boot, err := bootNumber()
	if err != nil {
		return err
	}
	if err := install(boot); err != nil {
		return err
	}
	for _, r := range j.Runs {
		if err := job.Begin(os.Stdout, j.Token, r.Name); err != nil {
			return err
		}
		begin := time.Now()
		code, err := wait(r, environment(append(j.Env, "CAISSON_BOOT="+strconv.Itoa(boot), "CAISSON_BOOTS="+strconv.Itoa(j.Boots))))
		if err != nil {
			fmt.Println("init:", err)
		}
		if err := job.End(os.Stdout, j.Token, r.Name, code, time.Since(begin)); err != nil {
			return err
		}
	}
	return job.Done(os.Stdout, j.Token)
}

// bootNumber is how often the machine was started with its disk.
func bootNumber() (int, error) {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	for _, word := range strings.Fields(string(b)) {
		if n, ok := strings.CutPrefix(word, job.BootParameter); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, errors.New("the command line does not say which boot it is")
}

func environment(more []string) []string {
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "TMPDIR=/tmp",
		"LANG=C.UTF-8", "CAISSON_VM=1",
	}, more...)
}

// wait runs a program to its end, and meanwhile collects the orphans that come to the first process.
func wait(r job.Run, env []string) (code int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 1, err
	}
	defer null.Close()
	p, err := os.StartProcess(r.Args[0], r.Args, &os.ProcAttr{
		Dir: r.Dir, Env: env, Files: []*os.File{null, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 1, err
	}
	defer p.Release()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait: %w", err)
		case pid != p.Pid:
		case status.Signaled():
			return 1, fmt.Errorf("%s: %v", r.Name, status.Signal())
		default:
			return status.ExitStatus(), nil
		}
	}
}

// loadModules loads all, and returns those that tests take out and put in again.
func loadModules() (kept map[string][]byte, err error) {
	kept = make(map[string][]byte)
	paths, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return nil, err
	}
	for _, path := range paths { // sorted
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		err = unix.InitModule(content, "")
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("load %s: %w", path, err)
		}
		if _, name, _ := strings.Cut(filepath.Base(path), "-"); slices.Contains(job.Removable, strings.TrimSuffix(name, ".ko")) {
			kept[name] = content
		}
	}
	return kept, nil
}

// keepModules writes them where the tests find them.
func keepModules(kept map[string][]byte) error {
	if err := os.MkdirAll(job.Modules, 0o755); err != nil {
		return err
	}
	for name, content := range kept {
		if err := os.WriteFile(filepath.Join(job.Modules, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// notTheRealOne are busybox's programs that tests would take for the ones of their name, to compare with.
var notTheRealOne = []string{"tar", "cpio", "unshare", "nsenter", "wget"}

// furnish makes the files that programs expect.
func furnish() error {
	for name, content := range map[string]string{
		"/etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":    "root:x:0:\nmessagebus:x:100:\nnogroup:x:65534:\n",
		"/etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
		"/etc/hostname": "vm\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("vm")); err != nil {
		return err
	}
	return os.Chmod("/tmp", 0o777|os.ModeSticky)
}

// install makes the programs of busybox, and the loopback interface.
func install(boot int) error {
	for _, args := range [][]string{{"--install", "-s", "/bin"}, {"ip", "link", "set", "lo", "up"}} {
		if boot > 1 && args[0] == "--install" { // they are on the disk
			continue
		}
		if out, err := exec.Command("/bin/busybox", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("busybox %v: %w: %s", args, err, out)
		}
	}
	for _, name := range notTheRealOne { // so that tests see it missing
		if err := os.Remove("/bin/" + name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
