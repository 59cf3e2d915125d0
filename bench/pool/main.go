//go:build linux

// Command pool times a start from a container.Pool, from the call to the end of /bin/true, in turns with a whole start and
// with the floor: clone with all the namespaces and exec. The aim is 1.7 times the floor at most.
//
//	go run ./bench/pool -n 300
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	n := flag.Int("n", 300, "runs of each")
	busybox := flag.String("busybox", "/bin/busybox", "a static executable that is /bin/true under that name")
	flag.Parse()
	if err := run(*n, *busybox); err != nil {
		fmt.Fprintln(os.Stderr, "pool:", err)
		os.Exit(1)
	}
}

func run(n int, busybox string) (err error) {
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := bench.Rootfs(dir, busybox); err != nil {
		return err
	}
	ctx := context.Background()
	make := func(context.Context) (*container.Container, error) {
		c := container.New(namespace.Dir(dir))
		c.Memory, c.PidsLimit, c.CPUShares = 512<<20, 512, 1024
		return c, nil
	}
	pool := &container.Pool{Size: 8, New: make}
	defer func() { err = errors.Join(err, pool.Close()) }()
	// The pool is filled between the runs, and is not during them: one of eight is no reason.
	cases := []*bench.Case{
		{
			Name:    "the floor: clone with the namespaces, exec",
			Prepare: bench.Rest,
			Run: func() error {
				cmd := exec.Command(filepath.Join(dir, "bin/true"))
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS |
					syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP}
				return cmd.Run()
			},
		},
		{
			Name:    "caisson, from a pool",
			Prepare: func() error { return errors.Join(pool.Fill(ctx), bench.Rest()) },
			Run: func() error {
				c, err := pool.Get(ctx)
				if err != nil {
					return err
				}
				c.Args = []string{"/bin/true"}
				return c.Run(ctx)
			},
		},
		{
			Name:    "caisson, whole",
			Prepare: bench.Rest,
			Run: func() error {
				c, err := make(ctx)
				if err != nil {
					return err
				}
				c.Args = []string{"/bin/true"}
				return c.Run(ctx)
			},
		},
	}
	if err := bench.InTurns(n, cases...); err != nil {
		return err
	}
	fmt.Printf("%s, %d runs each\n\n", bench.Machine(), n)
	return bench.Table(os.Stdout, cases...)
}
