package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A User is an ordinary user of this machine that exists as long as a test.
type User struct {
	Name string
	// ID is the number of the user and of its group.
	ID int
	// FirstSub is the first of the 65536 subordinate ids that it has, or 0.
	FirstSub int
	// Home is an empty folder of its own.
	Home string
}

var users atomic.Int64

// NewUser makes a user, with a line in /etc/passwd and /etc/group, and with subordinate ids in /etc/subuid and /etc/subgid if sub is
// set, which takes newuidmap(1). All of it is taken away when the test ends. It takes root.
func NewUser(t testing.TB, sub bool) *User {
	t.Helper()
	RequireRoot(t)
	n := users.Add(1)
	// Others test at the same time.
	u := &User{ID: 20000 + os.Getpid()%4000*10 + int(n%10)}
	u.Name = fmt.Sprintf("caisson-test-%d", u.ID)
	lines := map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", u.Name, u.ID, u.ID, "/nonexistent"),
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", u.Name, u.ID),
	}
	if sub {
		RequireCommand(t, "newuidmap", "newgidmap")
		u.FirstSub = 10_000_000 + u.ID<<16
		for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
			lines[file] = fmt.Sprintf("%s:%d:65536\n", u.Name, u.FirstSub)
		}
	}
	for file, line := range lines {
		addLine(t, file, line)
	}
	home, err := os.MkdirTemp("", "home-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(home)) })
	must(t, os.Chown(home, u.ID, u.ID))
	u.Home = home
	return u
}

// GrantSubordinateIDs writes 65536 ids from first on for name, who need not be a user of the machine, into /etc/subuid and
// /etc/subgid until the test ends. It takes root.
func GrantSubordinateIDs(t testing.TB, name string, first int) {
	t.Helper()
	RequireRoot(t)
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		addLine(t, file, fmt.Sprintf("%s:%d:65536\n", name, first))
	}
}

// addLine adds a line to a file of the machine until the test ends.
func addLine(t testing.TB, file, line string) {
	must(t, editLines(file, func(b []byte) []byte {
		if len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
		return append(b, line...)
	}))
	t.Cleanup(func() {
		must(t, editLines(file, func(b []byte) []byte { return bytes.Replace(b, []byte(line), nil, 1) }))
	})
}

// editLines changes a file of the machine, which other tests may be changing too, at once.
func editLines(file string, edit func([]byte) []byte) error {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "..", "caisson-test-users.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.WriteFile(file+".caisson-test", edit(b), mode); err != nil {
		return err
	}
	return os.Rename(file+".caisson-test", file)
}

// Command is a program of the test binary, see [Main], that the user runs in its home with an environment of its own. It is
// killed after a minute.
func (u *User) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	bin := filepath.Join(NewRootfs(t, program), "bin", program)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, bin, args...)
	u.become(cmd)
	return cmd
}

// become has the user run a command, as Command says.
func (u *User) become(cmd *exec.Cmd) {
	cmd.Dir = u.Home
	cmd.Env = []string{"HOME=" + u.Home, "TMPDIR=" + u.Home, "USER=" + u.Name, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.ID), Gid: uint32(u.ID)}}
}

// OpenTun lets everybody open /dev/net/tun until the test ends, as udev does on most machines. Other test binaries may do so
// at the same time.
func OpenTun(t testing.TB) {
	t.Helper()
	const tun = "/dev/net/tun"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string, how int) *os.File {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), "..", name), os.O_CREATE|os.O_RDWR, 0o600)
		must(err)
		must(syscall.Flock(int(f.Fd()), how))
		return f
	}
	const used, guard = "caisson-test-tun.lock", "caisson-test-tun-guard.lock"
	// Under the guard one begins or ends. The other lock is held as long as the device is used; its file has the mode from before.
	g := open(guard, syscall.LOCK_EX)
	lock := open(used, syscall.LOCK_SH)
	info, err := os.Stat(tun)
	must(err)
	if mode := info.Mode().Perm(); mode != 0o666 {
		must(os.WriteFile(lock.Name(), []byte(strconv.FormatUint(uint64(mode), 8)), 0o600))
		must(os.Chmod(tun, 0o666))
	}
	must(g.Close())
	t.Cleanup(func() {
		g := open(guard, syscall.LOCK_EX)
		defer g.Close()
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil { // the last one
			text, err := os.ReadFile(lock.Name())
			must(err)
			if mode, err := strconv.ParseUint(string(text), 8, 9); err == nil {
				must(os.Chmod(tun, os.FileMode(mode)))
			}
			must(lock.Truncate(0))
		}
		must(lock.Close())
	})
}
