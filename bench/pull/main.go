//go:build linux

// Command pull times the pulling of an image of many layers from a registry on this machine into an empty store on a
// fresh file system (ext4 in a file), in turns with what else pulls here, and with the bound: what inflating, both
// digests, reading the archives, writing files and blobs and one sync cost in processor time, over two processors. The
// kernel's own threads do much of the writing, so it is the processor time of the whole machine that counts, which must
// have nothing else to do. It needs root and mkfs.ext4; minidocker is built by it.
//
//	go run ./bench/pull              # 8 layers, 1 GB, 60,000 entries
//	go run ./bench/pull -scale 0.1   # a tenth of that
//
// A daemon is started before the clock is, and its processor time and memory are counted with its client's. The limits: at
// most 1.15 of the bound, a third of podman's time, 1/2.5 of dockerd's, 64 MB of memory.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

func main() {
	scale := flag.Float64("scale", 1, "size of the image: 1 is 1 GB and 60,000 entries")
	rounds := flag.Int("n", 3, "runs of each")
	dir := flag.String("dir", os.TempDir(), "where the image and the file systems are kept meanwhile: four times the image's size")
	zstd := flag.Bool("zstd", false, "layers compressed by zstd instead of gzip")
	bound := flag.String("bound", "", "internal: pull the layers of the folder as the bound does, into the working directory")
	flag.Parse()
	var err error
	if *bound != "" {
		err = straight(*bound)
	} else {
		err = run(*scale, *rounds, *dir, *zstd)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		os.Exit(1)
	}
}

// A puller is a program that pulls: command makes it for an empty folder.
type puller struct {
	name    string
	command func(dir string) *exec.Cmd
	daemon  func(dir, run string) (*daemon, error) // what command is a client of; nil for none. run holds its sockets
	wall    []time.Duration
	cpu     []time.Duration
	machine []time.Duration // the processor time of all processes and the kernel meanwhile
	memory  int64           // KB, at most
}

func run(scale float64, rounds int, in string, zstd bool) (err error) {
	dir, err := os.MkdirTemp(in, "caisson-bench-pull-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	blobs := filepath.Join(dir, "blobs")
	if err := os.Mkdir(blobs, 0o755); err != nil {
		return err
	}
	big := testimage.Big{Bytes: int64(scale * 1e9), Entries: int(scale * 60000), Layers: 8, Zstd: zstd}
	image, err := big.Write(blobs)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &registry.Server{Store: testimage.Served{Folder: image}}}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	pullers, err := programs(dir, blobs, l.Addr().String()+"/bench:latest")
	if err != nil {
		return err
	}
	if zstd { // Debian's docker.io 20.10 fails with "invalid tar header"
		pullers = slices.DeleteFunc(pullers, func(p *puller) bool { return strings.HasPrefix(p.name, "dockerd") })
	}
	size := big.Bytes * 2
	for i := range rounds + 1 { // the first does not count
		for _, p := range pullers {
			if err := p.once(dir, size+(1<<30), i > 0); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	var compressed int64
	for _, d := range image.Layers {
		compressed += d.Size
	}
	fmt.Printf("%s, %d processors, %d runs each; %d layers, %d entries, %d MB, compressed %d MB\n\n", kernel(), runtime.NumCPU(), rounds,
		big.Layers, big.Entries, big.Bytes/1e6, compressed/1e6)
	table(pullers)
	return nil
}

// programs returns the bound, ours, and those peers that are installed.
func programs(dir, blobs, name string) ([]*puller, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	minidocker := filepath.Join(dir, "minidocker")
	if out, err := exec.Command("go", "build", "-o", minidocker, "./cmd/minidocker").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	all := []*puller{
		{name: "the bound: one thread, the machine's processor time ÷ 2", command: func(to string) *exec.Cmd {
			c := exec.Command(self, "-bound", blobs)
			c.Dir = to
			return c
		}},
		{name: "caisson", command: func(to string) *exec.Cmd {
			return exec.Command(minidocker, "--root", to, "pull", "-q", name)
		}},
		{name: "skopeo copy to an OCI layout (extracts nothing)", command: func(to string) *exec.Cmd {
			return exec.Command("skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "docker://"+name, "oci:"+to+"/l:x")
		}},
		{name: "podman pull", command: func(to string) *exec.Cmd {
			return exec.Command("podman", "--root", to+"/r", "--runroot", to+"/rr", "--storage-driver", "overlay", "--storage-opt",
				"overlay.mountopt=nodev", "pull", "-q", "--tls-verify=false", name)
		}},
		{name: "dockerd (docker pull)", daemon: dockerd, command: func(to string) *exec.Cmd {
			return exec.Command("docker", "-H", "unix://"+filepath.Join(dir, "run", "docker.sock"), "pull", "-q", name)
		}},
		{name: "containerd (ctr image pull)", daemon: containerd, command: func(to string) *exec.Cmd {
			return exec.Command("ctr", "--address", filepath.Join(dir, "run", "containerd.sock"), "image", "pull", "--plain-http", name)
		}},
	}
	return slices.DeleteFunc(all, func(p *puller) bool {
		if strings.HasPrefix(p.name, "dockerd") || strings.HasPrefix(p.name, "containerd") {
			if _, err := exec.LookPath(strings.Fields(p.name)[0]); err != nil {
				return true
			}
		}
		_, err := exec.LookPath(p.command(dir).Args[0])
		return err != nil
	}), nil
}

// once runs a puller on a fresh file system.
func (p *puller) once(dir string, size int64, counts bool) (err error) {
	mount := filepath.Join(dir, "mnt")
	remove, err := bench.FileSystem(mount, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := bench.Command(exec.Command("sync")); err != nil {
		return err
	}
	c, d, stop, err := p.client(dir, mount)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	start, before := time.Now(), busy()
	if err := bench.Command(c); err != nil {
		return err
	}
	if wall := time.Since(start); counts {
		p.machine = append(p.machine, busy()-before)
		taken := usage{c.ProcessState.UserTime() + c.ProcessState.SystemTime(), c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss}
		if d != nil {
			u := d.usage()
			taken.cpu += u.cpu - d.before.cpu
			taken.memory += u.memory
		}
		p.wall = append(p.wall, wall)
		p.cpu = append(p.cpu, taken.cpu)
		p.memory = max(p.memory, taken.memory)
	}
	return nil
}

// client returns the command that pulls into a folder, and starts the daemon that it asks, if it does.
func (p *puller) client(dir, mount string) (c *exec.Cmd, d *daemon, stop func() error, err error) {
	if p.daemon == nil {
		return p.command(mount), nil, func() error { return nil }, nil
	}
	run := filepath.Join(dir, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		return nil, nil, nil, err
	}
	if d, err = p.daemon(mount, run); err != nil {
		return nil, nil, nil, err
	}
	return p.command(mount), d, func() error { return errors.Join(d.stop(), os.RemoveAll(run)) }, nil
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}

// busy is how long the machine's processors have not been idle so far.
func busy() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
		if i < len(fields) {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func table(all []*puller) {
	bound := median(all[0].machine) / 2
	fmt.Print("| | s | processor s | of the machine | memory MB | ratio to the bound |\n|---|---|---|---|---|---|\n")
	for i, p := range all {
		wall := median(p.wall)
		if i == 0 {
			wall = bound
		}
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %d | %.2f |\n", p.name, wall.Seconds(), median(p.cpu).Seconds(),
			median(p.machine).Seconds(), p.memory>>10, float64(wall)/float64(bound))
	}
}
