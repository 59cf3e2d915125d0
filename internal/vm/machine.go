package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/internal/vm/job"
)

// machines say how qemu makes a machine of each architecture.
var machines = map[string]struct {
	program string
	args    []string
	console string
	line    string // further parameters of the kernel
}{
	// Without what makes copying faster on a real processor and slower on an emulated one: one run on three machines took
	// 19.9 s of processor time, and 22.0 s with it.
	"amd64": {"qemu-system-x86_64", []string{"-machine", "q35", "-cpu", "max,la57=off,erms=off,smap=off,smep=off"}, "ttyS0",
		// A kernel that counts too few ticks while the machine below is busy would say that its timer does not work.
		"no_timer_check "},
	"arm64": {"qemu-system-aarch64", []string{"-machine", "virt", "-cpu", "max,pauth-impdef=on"}, "ttyAMA0", ""},
}

// testFlags are passed to the test binaries.
type testFlags struct {
	run, skip      string
	verbose, short bool
	count          int
	timeout        time.Duration
}

func (f *testFlags) args() []string {
	args := []string{"-test.timeout=" + f.timeout.String(), "-test.count=" + strconv.Itoa(f.count)}
	if f.run != "" {
		args = append(args, "-test.run="+f.run)
	}
	if f.skip != "" {
		args = append(args, "-test.skip="+f.skip)
	}
	if f.verbose {
		args = append(args, "-test.v")
	}
	if f.short {
		args = append(args, "-test.short")
	}
	return args
}

func newJob(packages []pkg, o *options) *job.Job {
	j := &job.Job{Token: "vm-" + rand.Text(), Cgroup: o.cgroup, Systemd: o.systemd, Env: o.env, Boots: o.boots}
	for _, p := range packages {
		dir := "/tests/" + p.name
		program := dir + "/" + filepath.Base(p.path) + ".test"
		j.Runs = append(j.Runs, job.Run{Name: p.path, Dir: dir, Args: append([]string{program}, o.tests.args()...)})
	}
	return j
}

// A machine is one boot.
type machine struct {
	options *options
	kernel  *kernel
	archive *archive
	work    string
	job     *job.Job
}

// prepare makes the initramfs and the disk.
func (m *machine) prepare(ctx context.Context, busybox string) error {
	first := filepath.Join(m.work, "init")
	init := "github.com/caisson-engine/caisson/internal/vm/init"
	if _, err := goCommand(ctx, m.options.arch, "build", "-o", first, init); err != nil {
		return err
	}
	if err := m.initramfs(first); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	disk := filepath.Join(m.work, "disk")
	if m.options.systemd {
		if err := m.system(ctx, first, disk); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "tests"} {
		if err := os.MkdirAll(filepath.Join(disk, dir), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(busybox, filepath.Join(disk, "bin/busybox"), 0o755); err != nil {
		return err
	}
	for i, path := range m.kernel.onDemand {
		to := filepath.Join(disk, job.OnDemand, fmt.Sprintf("%03d-%s", i, filepath.Base(path)))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := copyFile(path, to, 0o644); err != nil {
			return err
		}
	}
	text, err := json.Marshal(m.job)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(disk, job.File), text, 0o644); err != nil {
		return err
	}
	xfs := filepath.Join(disk, "xfs.img")
	if err := os.Remove(xfs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Smaller than people make them, but for the tests of volumes, which copy it.
	if _, err := command(ctx, "", "mkfs.xfs", "-q", "--unsupported", "-d", "file,name="+xfs+",size=48m"); err != nil {
		return err
	}
	_, err = command(ctx, "", "mkfs.ext4", "-q", "-F", "-d", disk, "-E", "root_owner=0:0,lazy_itable_init=1,quotatype=prjquota",
		"-O", "quota,project", // for the tests of volumes
		filepath.Join(m.work, "disk.img"), "8G") // sparse
	return err
}

// initramfs writes the first program and the modules, numbered in the order to load them.
func (m *machine) initramfs(first string) (err error) {
	f, err := os.Create(filepath.Join(m.work, "initramfs"))
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	c := newCPIO(f)
	for _, dir := range []string{"dev", "disk", "modules"} {
		if err := c.Dir(dir); err != nil {
			return err
		}
	}
	content, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	if err := c.File("init", 0o755, content); err != nil {
		return err
	}
	for i, path := range m.kernel.modules {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := c.File(fmt.Sprintf("modules/%03d-%s", i, filepath.Base(path)), 0o644, content); err != nil {
			return err
		}
	}
	return c.Close()
}

// boot runs the machine to its end, for the n-th time, and says whether all tests passed.
func (m *machine) boot(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.timeout)
	defer cancel()
	about := machines[m.options.arch]
	line := "console=" + about.console + " quiet loglevel=3 panic=-1 audit=0 random.trust_cpu=on mitigations=off " + about.line + job.BootParameter + strconv.Itoa(n)
	if m.options.cgroup == "v2" {
		line += " cgroup_no_v1=all"
	}
	if m.options.systemd {
		line += systemdLine(m.options.cgroup)
	}
	line += " " + m.options.append
	args := append(about.args,
		"-accel", m.options.accel, "-smp", strconv.Itoa(m.options.cpus), "-m", strconv.Itoa(m.options.memory),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", m.kernel.image, "-initrd", filepath.Join(m.work, "initramfs"), "-append", line,
		"-drive", "file="+filepath.Join(m.work, "disk.img")+",if=none,id=disk,format=raw,cache=unsafe",
		"-device", "virtio-blk-pci,drive=disk")
	cmd := exec.CommandContext(ctx, about.program, args...)
	cmd.Stderr = os.Stderr
	console, w := io.Pipe()
	cmd.Stdout = w
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = w.Close()
		ended <- err
	}()
	trap := &trapFinder{}
	results, begun, done := job.Follow(io.TeeReader(console, trap), m.job.Token, os.Stdout)
	err := <-ended
	if trap.found && ctx.Err() == nil && !done {
		return errEmulator
	}
	if ctx.Err() == nil && err == nil && !done && begun != "" && n < m.options.boots {
		return errOff
	}
	if ctx.Err() != nil {
		begun += fmt.Sprintf(" (%v after %v)", ctx.Err(), time.Since(begin).Round(time.Second))
	}
	return m.verdict(results, begun, done && err == nil, time.Since(begin))
}

// errEmulator is the error of a machine whose kernel died of the emulator: qemu, with a thread for each processor, may run
// an instruction that another processor is rewriting (the kernel's static keys do that), and then meets its breakpoint when
// nobody expects it.
var errEmulator = errors.New("the emulator ran into code that the kernel was rewriting")

// A trapFinder looks for the kernel's message about such a breakpoint.
type trapFinder struct {
	tail  []byte
	found bool
}

var trapMessage = []byte("Oops: int3")

func (f *trapFinder) Write(b []byte) (int, error) {
	f.tail = append(f.tail, b...)
	f.found = f.found || bytes.Contains(f.tail, trapMessage)
	f.tail = f.tail[max(0, len(f.tail)-len(trapMessage)):]
	return len(b), nil
}

func (m *machine) verdict(results []job.Result, begun string, done bool, took time.Duration) error {
	passed := 0
	var failed []string
	for _, r := range results {
		state := "ok  "
		if r.Code != 0 {
			state = "FAIL"
			failed = append(failed, r.Name)
		} else {
			passed++
		}
		fmt.Printf("%s\t%s\t%s\n", state, r.Name, r.Took)
	}
	fmt.Printf("vm: Linux %s on %s: %d of %d packages passed in %v\n",
		m.kernel.release, m.options.arch, passed, len(m.job.Runs), took.Round(time.Second))
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%w: %s", errFailed, strings.Join(failed, ", "))
	case !done && begun != "":
		return fmt.Errorf("%w: the machine ended in %s", errFailed, begun)
	case !done || passed != len(m.job.Runs):
		return fmt.Errorf("%w: the machine ended early", errFailed)
	}
	return nil
}
