//go:build linux

// Command start times a container from the call to the end of /bin/true, in turns with other runtimes, at equal
// isolation: six namespaces, the same mounts and masks, 14 capabilities, no_new_privs, Docker's seccomp profile, control groups with
// limits. It prints the README's table.
//
//	go run ./bench/start -n 300
//	go run ./bench/start -throughput 3s    containers a second, with as many launchers as processors and twice that
//	go run ./bench/start -heap 1024 -n 50  from a program that holds as many MB, in turns with one that holds 10
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	heap := flag.Int("heap", 0, "compare with a program that holds as many MB in memory")
	throughput := flag.Duration("throughput", 0, "count the containers of this time instead of timing each")
	serve := flag.String("serve", "", "for -heap: hold -heap MB, and start a container in this folder for each line of the input")
	os.Exit(bench.Main("start", 300, "runs of each", func(s *bench.Setting) error {
		switch {
		case *serve != "":
			return serveStarts(*serve, *heap)
		case *heap != 0:
			return heaps(s, *heap)
		}
		if err := os.Setenv("TMPDIR", s.Dir); err != nil { // where temporary writable layers are made
			return err
		}
		if err := bench.WriteBundle(s.Dir, s.Root); err != nil {
			return err
		}
		if *throughput != 0 {
			return throughputs(s, *throughput)
		}
		return s.Table(append(own(s.Root), peers(s)...)...)
	}))
}

// start runs a container with limits.
func start(root *namespace.Root) error {
	c := container.New(root, "/bin/true")
	c.Memory, c.PidsLimit, c.CPUShares, c.CpusetCPUs = bench.Memory, bench.Pids, bench.Shares, bench.CPUs
	return c.Run(context.Background())
}

// overlay runs one on an overlay that is made and removed.
func overlay(rootfs string, o *layer.MountOptions) error {
	root, err := layer.Mount(context.Background(), []layer.Layer{{Dir: rootfs}}, o)
	if err != nil {
		return err
	}
	return errors.Join(start(root), root.Close())
}

// own are the library, on a plain folder and on overlays whose writable layer is made and removed each time.
func own(rootfs string) []*bench.Case {
	there := &layer.MountOptions{Upper: filepath.Join(filepath.Dir(rootfs), "upper"), Work: filepath.Join(filepath.Dir(rootfs), "work")}
	return []*bench.Case{
		{Name: "caisson, a folder as root", Run: func() error { return start(namespace.Dir(rootfs)) }},
		{Name: "caisson, an overlay in memory", Run: func() error {
			return overlay(rootfs, &layer.MountOptions{InMemory: 64 << 20})
		}},
		{
			Name: "caisson, an overlay on a writable layer that is there", Run: func() error { return overlay(rootfs, there) },
			Prepare: func() error { return errors.Join(os.Mkdir(there.Upper, 0o755), os.Mkdir(there.Work, 0o755)) },
			Clean:   func() error { return errors.Join(os.RemoveAll(there.Upper), os.RemoveAll(there.Work)) },
		},
		{Name: "caisson, an overlay on disk, made and removed", Run: func() error { return overlay(rootfs, nil) }},
	}
}

// peers are what else there is, and the floor.
func peers(s *bench.Setting) []*bench.Case {
	cases := []*bench.Case{
		s.FloorCase(),
		{Name: "os/exec of the same command", Run: func() error { return bench.Command(s.True()) }},
	}
	if _, err := exec.LookPath("bwrap"); err == nil {
		cases = append(cases, &bench.Case{Name: "bwrap (no control group, no seccomp, no masks)", Run: func() error {
			return bench.Command(exec.Command("bwrap", "--unshare-all", "--bind", s.Root, "/", "--proc", "/proc", "--dev", "/dev",
				"--hostname", "box", "--cap-drop", "ALL", "/bin/true"))
		}})
	}
	oci := bench.WithoutUnified()
	for _, name := range []string{"crun", "runc"} {
		if _, err := exec.LookPath(name); err == nil {
			run := runtime(s, name)
			cases = append(cases, &bench.Case{Name: name + " run", Run: func() error { return oci(run) }})
		}
	}
	return cases
}

// runtime returns a function that runs a container by an OCI runtime.
func runtime(s *bench.Setting, name string) func() error {
	var n atomic.Int64
	return func() error {
		return bench.Command(exec.Command(name, "--root", filepath.Join(s.Dir, name), "run", "-b", s.Dir,
			fmt.Sprintf("caisson-bench-%d", n.Add(1))))
	}
}
