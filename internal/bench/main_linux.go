package bench

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A Setting is what a bench is run with.
type Setting struct {
	// N is how often each case is run, or how many of what the bench is about there are.
	N int
	// Dir is a folder that is deleted at the end, and Root a root file system in it: see [Rootfs]. It is on a [FileSystem] of its
	// own.
	Dir, Root string
}

// Main is a bench's main function. It parses the flags, -n and -busybox and those that the bench has of its own, calls run,
// and returns the exit status.
func Main(name string, n int, what string, run func(*Setting) error) int {
	flag.IntVar(&n, "n", n, what)
	busybox := flag.String("busybox", "/bin/busybox", "a static executable that is what the containers execute under its names")
	flag.Parse()
	if err := prepare(n, *busybox, run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func prepare(n int, busybox string, run func(*Setting) error) (err error) {
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fresh := filepath.Join(dir, "fresh")
	remove, err := FileSystem(fresh, 4<<30)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s := &Setting{N: n, Dir: fresh, Root: filepath.Join(fresh, "rootfs")}
	if err := Rootfs(s.Root, busybox); err != nil {
		return err
	}
	return run(s)
}

// Table runs the cases N times in turns, with a rest before each, and prints what machine it was and their table.
func (s *Setting) Table(cases ...*Case) error {
	for _, c := range cases {
		if c.Prepare == nil {
			c.Prepare = Rest
		}
	}
	if err := InTurns(s.N, cases...); err != nil {
		return err
	}
	fmt.Printf("%s, %d runs each\n\n", Machine(), s.N)
	return Table(os.Stdout, cases...)
}

// True is the command that the cases time.
func (s *Setting) True() *exec.Cmd { return exec.Command(filepath.Join(s.Root, "bin/true")) }

// Floor returns a command of Root in new namespaces of the six kinds.
func (s *Setting) Floor(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.Root, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS |
		syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP}
	return cmd
}

// FloorCase times the floor: what the kernel itself takes for the namespaces and the execution.
func (s *Setting) FloorCase() *Case {
	return &Case{Name: "the floor: clone with the namespaces, exec", Run: func() error { return Command(s.Floor("bin/true")) }}
}

// Command runs a command; the error holds what it says.
func Command(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
