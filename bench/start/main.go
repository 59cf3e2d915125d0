//go:build linux

// Command start times a container from the call to the end of /bin/true, in turns with other runtimes, at equal
// isolation: six namespaces, the same mounts and masks, 14 capabilities, no_new_privs, Docker's seccomp profile, control groups with
// limits. It prints the README's table.
//
//	go run ./bench/start -n 300
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	n := flag.Int("n", 300, "runs of each")
	busybox := flag.String("busybox", "/bin/busybox", "a static executable that is /bin/true under that name")
	heap := flag.Int("heap", 0, "MB that this program holds in memory meanwhile: a start costs the same")
	flag.Parse()
	held := make([]byte, *heap<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	defer runtime.KeepAlive(held)
	if err := run(*n, *busybox); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func run(n int, busybox string) (err error) {
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rootfs := filepath.Join(dir, "rootfs")
	if err := makeRootfs(rootfs, busybox); err != nil {
		return err
	}
	if err := writeBundle(dir, rootfs); err != nil {
		return err
	}
	cases := append(own(dir, rootfs), peers(dir, rootfs)...)
	if err := bench.InTurns(n, cases...); err != nil {
		return err
	}
	fmt.Printf("%s, %d processors, %d runs each\n\n", kernel(), runtime.NumCPU(), n)
	return bench.Table(os.Stdout, cases...)
}

func makeRootfs(dir, busybox string) error {
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("%w (Debian's package busybox-static has it)", err)
	}
	return os.WriteFile(filepath.Join(dir, "bin/true"), b, 0o755)
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}

// own are the library, on a plain folder and on an overlay whose writable layer is made and removed each time.
func own(dir, rootfs string) []*bench.Case {
	ctx := context.Background()
	start := func(root *namespace.Root) error {
		c := container.New(root, "/bin/true")
		c.Memory, c.PidsLimit, c.CPUShares, c.CpusetCPUs = memory, pids, shares, cpus
		return c.Run(ctx)
	}
	return []*bench.Case{
		{Name: "caisson, a folder as root", Run: func() error { return start(namespace.Dir(rootfs)) }},
		{Name: "caisson, an overlay as root", Run: func() error {
			root, err := layer.Mount(ctx, []layer.Layer{{Dir: rootfs}}, nil)
			if err != nil {
				return err
			}
			return errors.Join(start(root), root.Close())
		}},
	}
}

// peers are what else there is, and the floor: the kernel's own time for the namespaces and the execution.
func peers(dir, rootfs string) (cases []*bench.Case) {
	tru := filepath.Join(rootfs, "bin/true")
	const all = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET |
		syscall.CLONE_NEWCGROUP
	add := func(name string, c func() *exec.Cmd) {
		if _, err := exec.LookPath(c().Args[0]); err == nil {
			cases = append(cases, &bench.Case{Name: name, Run: func() error { return command(c()) }})
		}
	}
	add("the floor: clone with the namespaces, exec", func() *exec.Cmd {
		cmd := exec.Command(tru)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: all}
		return cmd
	})
	add("os/exec of the same command", func() *exec.Cmd { return exec.Command(tru) })
	add("bwrap (no control group, no seccomp, no masks)", func() *exec.Cmd {
		return exec.Command("bwrap", "--unshare-all", "--bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev",
			"--hostname", "box", "--cap-drop", "ALL", "/bin/true")
	})
	oci := bench.WithoutUnified()
	i := 0
	for _, name := range []string{"crun", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		state := filepath.Join(dir, name)
		cases = append(cases, &bench.Case{Name: name + " run", Run: func() error {
			i++
			return oci(func() error {
				return command(exec.Command(name, "--root", state, "run", "-b", dir, fmt.Sprintf("caisson-bench-%d", i)))
			})
		}})
	}
	return cases
}

func command(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
