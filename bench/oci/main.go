//go:build linux

// Command oci times OCI runtimes as whole processes, in turns: run, and create, start and delete in sum, of /bin/true with six
// namespaces, the same mounts and masks, 14 capabilities, no_new_privs, Docker's seccomp profile and control groups with limits.
// minirunc, built as for use, shall take at most 1/2 of crun's time and 1/8 of runc's. Their state is on a tmpfs, as the folders in /run are where they have
// it by default. Beside them are the floors: what the kernel takes for the container's namespaces, and for starting programs that
// do nothing, in C (busybox's true) and in Go. It prints the peak memory of the commands, too: that of minirunc shall be under 12 MB.
//
//	go run ./bench/oci -n 100
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/bench"
)

func main() {
	os.Exit(bench.Main("oci", 100, "runs of each", func(s *bench.Setting) error {
		if err := bench.WriteBundle(s.Dir, s.Root); err != nil {
			return err
		}
		own := filepath.Join(s.Dir, "minirunc")
		if err := build(own, "-s -w -E _early", "./cmd/minirunc"); err != nil {
			return err
		}
		empty, err := buildEmpty(s.Dir)
		if err != nil {
			return err
		}
		state := filepath.Join(s.Dir, "state")
		if err := os.Mkdir(state, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", state, "tmpfs", 0, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
		defer func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) }()
		all := []*runtime{{name: "minirunc", path: own, s: s}}
		for _, name := range []string{"crun", "runc"} {
			if path, err := exec.LookPath(name); err == nil {
				all = append(all, &runtime{name: name, path: path, s: s})
			}
		}
		oci := bench.WithoutUnified()
		for _, kind := range []string{"run", "create, start, delete"} {
			var cases []*bench.Case
			for _, r := range all {
				f := r.run
				if kind != "run" {
					f = r.life
				}
				cases = append(cases, &bench.Case{Name: r.name + " " + kind, Run: func() error { return oci(f) }, Clean: bench.Rest})
			}
			commands := 1
			if kind != "run" {
				commands = 3
			}
			cases = append(cases, s.FloorCase(), emptyCase(empty, commands))
			if err := s.Table(cases...); err != nil {
				return err
			}
		}
		if err := bench.SetCommand(s.Dir, "/bin/sleep", "60"); err != nil {
			return err
		}
		for _, r := range all {
			peak := 0
			if err := oci(func() (err error) { peak, err = r.peak(); return err }); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			fmt.Printf("%s: peak memory %.1f MB\n", r.name, float64(peak)/1024)
		}
		return nil
	}))
}

// buildEmpty builds a Go program that does nothing.
func buildEmpty(dir string) (string, error) {
	source, program := filepath.Join(dir, "empty.go"), filepath.Join(dir, "empty")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return "", err
	}
	return program, build(program, "-s -w", source)
}

// build builds a program and copies it, as an installation does: a file as the linker leaves it is in memory a page at a time, which takes a
// tenth more time to start than one that was written or read at once, as those of the peers were.
func build(program, flags, source string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags="+flags, "-o", program+".linked", source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := bench.Command(cmd); err != nil {
		return err
	}
	return bench.Command(exec.Command("cp", program+".linked", program))
}

// emptyCase times the start and end of an empty Go program, n of them one after the other: less no n commands written in Go can take.
func emptyCase(program string, n int) *bench.Case {
	return &bench.Case{Name: fmt.Sprintf("the floor: %d empty Go programs", n), Run: func() error {
		for range n {
			if err := exec.Command(program).Run(); err != nil {
				return err
			}
		}
		return nil
	}}
}

// A runtime is one of those that are compared.
type runtime struct {
	name, path string
	s          *bench.Setting
	n          atomic.Int64
}

// do runs a command of the runtime.
func (r *runtime) do(args ...string) error {
	cmd := exec.Command(r.path, append([]string{"--root", filepath.Join(r.s.Dir, "state", r.name)}, args...)...)
	return cmd.Run() // without a pipe, whose end a container that waits would hold open
}

func (r *runtime) id() string { return fmt.Sprintf("caisson-bench-%s-%d", r.name, r.n.Add(1)) }

func (r *runtime) run() error { return r.do("run", "-b", r.s.Dir, r.id()) }

// peak is the most memory that a run has had when its container runs, in KB. (What the kernel says of a process that has ended, Maxrss,
// is no less than its parent had.)
func (r *runtime) peak() (kb int, err error) {
	id := r.id()
	cmd := exec.Command(r.path, "--root", filepath.Join(r.s.Dir, "state", r.name), "run", "-b", r.s.Dir, id)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		if kb, err = highWater(cmd.Process.Pid); err == nil {
			err = r.do("kill", id, "KILL")
		}
		if err == nil {
			break
		}
	}
	if err != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait() // it says that the container was killed
	return kb, err
}

// highWater is the most memory that a process has had, in KB.
func highWater(pid int) (kb int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	_, err = fmt.Sscan(after, &kb)
	return kb, err
}

// life is what a caller that does not wait has it do; delete comes again until the process has ended.
func (r *runtime) life() error {
	id := r.id()
	if err := r.do("create", "-b", r.s.Dir, id); err != nil {
		return err
	}
	if err := r.do("start", id); err != nil {
		return err
	}
	var err error
	for range 100 {
		if err = r.do("delete", id); err == nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return err
}
