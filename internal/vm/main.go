package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

type options struct {
	kernel  string
	arch    string
	cgroup  string
	systemd bool
	append  string
	accel   string
	memory  int
	cpus    int
	timeout time.Duration
	boots   int
	env     []string
	bring   []string
	install []string
	tests   testFlags
}

// errOff is returned when the machine went off while tests ran, which are to go on when it is started again.
var errOff = errors.New("the machine went off")

// errFailed is returned when the machine ran and not all tests passed.
var errFailed = errors.New("tests failed")

func main() {
	var o options
	flag.StringVar(&o.kernel, "kernel", "6.1", "the kernel's `version`: 6.1 or 6.12")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "amd64 or arm64")
	flag.StringVar(&o.cgroup, "cgroup", "v2", "the cgroup hierarchies: v2, v1 or hybrid")
	flag.BoolVar(&o.systemd, "systemd", false, "boot systemd, and run the tests in a service of it")
	flag.StringVar(&o.append, "append", "", "further `parameters` of the kernel")
	flag.StringVar(&o.accel, "accel", "tcg", "qemu's accelerator")
	flag.IntVar(&o.memory, "memory", 2048, "`MiB` of memory")
	flag.IntVar(&o.cpus, "cpus", 1, "number of processors; with two, an emulated machine takes a third more of the real ones' time")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "for the machine, from boot to end")
	flag.IntVar(&o.boots, "boots", 1, "`n`: start the machine again, with the disk as it is, when it goes off while tests run, until this is the n-th time")
	flag.DurationVar(&o.tests.timeout, "test-timeout", 10*time.Minute, "for each package's tests")
	flag.StringVar(&o.tests.run, "run", "", "run only the tests that match `regexp`")
	flag.StringVar(&o.tests.skip, "skip", "", "leave out the tests that match `regexp`")
	flag.BoolVar(&o.tests.verbose, "v", false, "print all tests' names and output")
	flag.BoolVar(&o.tests.short, "short", false, "pass -test.short")
	flag.IntVar(&o.tests.count, "count", 1, "run each test `n` times")
	flag.Func("env", "set `NAME=value` for the tests (may be repeated)", func(s string) error {
		o.env = append(o.env, s)
		return nil
	})
	flag.Func("bring", "have a `command` of this machine, with its libraries, in the machine, too; takes -systemd (may be repeated)", func(s string) error {
		o.bring = append(o.bring, s)
		return nil
	})
	flag.Func("install", "have the command of a `package` in the machine, in /usr/local/bin (may be repeated)", func(s string) error {
		o.install = append(o.install, s)
		return nil
	})
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, &o, flag.Args())
	switch {
	case errors.Is(err, errFailed):
		fmt.Fprintln(os.Stderr, "vm:", err)
		stop()
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		stop()
		os.Exit(2)
	}
}

func run(ctx context.Context, o *options, patterns []string) error {
	if _, ok := machines[o.arch]; !ok {
		return fmt.Errorf("no machine for %s", o.arch)
	}
	if len(o.bring) > 0 && !o.systemd {
		return errors.New("-bring takes -systemd: without it there are no programs on the disk")
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "caisson-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	begin := time.Now()
	a := &archive{cache: filepath.Join(base, "caisson-vm"), arch: o.arch}
	k, err := a.kernel(ctx, o.kernel)
	if err != nil {
		return err
	}
	busybox, err := a.busybox(ctx)
	if err != nil {
		return err
	}
	packages, err := build(ctx, o.arch, filepath.Join(work, "disk"), patterns)
	if err != nil {
		return err
	}
	for _, path := range o.install {
		if _, err := goCommand(ctx, o.arch, "build", "-o", filepath.Join(work, "disk", "usr/local/bin")+"/", path); err != nil {
			return err
		}
	}
	job := newJob(packages, o)
	m := &machine{options: o, kernel: k, archive: a, work: work, job: job}
	for try := 1; ; try++ {
		if err := m.prepare(ctx, busybox); err != nil {
			return err
		}
		fmt.Printf("vm: Linux %s on %s, cgroup %s, %d packages, made in %v\n",
			k.release, o.arch, o.cgroup, len(packages), time.Since(begin).Round(time.Millisecond))
		err := m.boot(ctx, 1)
		for n := 2; n <= o.boots && errors.Is(err, errOff); n++ {
			fmt.Printf("vm: the machine went off: boot %d\n", n)
			err = m.boot(ctx, n)
		}
		if !errors.Is(err, errEmulator) || try == tries {
			return err
		}
		fmt.Printf("vm: %v: once more\n", err)
	}
}

// tries bounds how often a machine is started that its emulator breaks.
const tries = 3
