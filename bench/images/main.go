//go:build linux

// Command images times the commit of a container with 1,000 changed files and the run of one whose image has 100 layers,
// in turns with podman; the push of an image to an empty registry on this machine, in turns with crane and skopeo; and
// the listing of 500 images. All are whole commands on one fresh file system (ext4 in a file). It needs root, mkfs.ext4
// and busybox; minidocker and crane are built by it, the latter from the module that image/testdata/crane pins.
//
//	go run ./bench/images           # 10 runs of each, a push of 300 MB
//	go run ./bench/images -n 30 -push 1000
//	go run ./bench/images -formats    # layers as folders and as EROFS images: extraction, mount, reading, deletion, size
//
// The limits: at most half of podman's time, 1.2 of crane's, 20 ms for the list.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/registry"
)

func main() {
	n := flag.Int("n", 10, "runs of each")
	push := flag.Int64("push", 300, "size of the image that is pushed, in MB")
	layers := flag.Bool("formats", false, "only the two ways to hold a layer, with one of the size of -push")
	flag.Parse()
	if err := run(*n, *push*1e6, *layers); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// A setting is where the programs work, and what they talk to.
type setting struct {
	dir      string // the file system
	programs string // what was built
	registry atomic.Pointer[registry.Server]
	host     string
}

func run(n int, push int64, layers bool) (err error) {
	top, err := os.MkdirTemp("", "caisson-bench-images-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	s := &setting{dir: filepath.Join(top, "mnt"), programs: top}
	remove, err := bench.FileSystem(s.dir, 4<<30+4*push)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.rest(), remove()) }()
	if layers {
		fmt.Printf("%s, %d runs of each\n", bench.Machine(), n)
		return s.formats(n, push)
	}
	if err := s.build(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.registry.Load().ServeHTTP(w, r) })}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	s.host = l.Addr().String()
	fmt.Printf("%s, %d runs of each\n", bench.Machine(), n)
	for _, part := range []func() ([]*bench.Case, func() error, error){
		s.commits, s.starts, func() ([]*bench.Case, func() error, error) { return s.pushes(push) }, s.lists,
	} {
		if err := measure(n, part); err != nil {
			return err
		}
	}
	return nil
}

// measure makes the cases of one table, runs them and takes away what they worked on.
func measure(n int, part func() ([]*bench.Case, func() error, error)) error {
	cases, clean, err := part()
	if err == nil {
		err = bench.InTurns(n, cases...)
	}
	if err == nil {
		fmt.Println()
		err = bench.Table(os.Stdout, cases...)
	}
	if clean != nil {
		err = errors.Join(err, clean())
	}
	return err
}

// build makes minidocker, and crane where its module can be had.
func (s *setting) build() error {
	if err := command("go", "build", "-o", filepath.Join(s.programs, "minidocker"), "./cmd/minidocker")(); err != nil {
		return err
	}
	c := exec.Command("go", "build", "-o", filepath.Join(s.programs, "crane"), "github.com/google/go-containerregistry/cmd/crane")
	c.Dir = filepath.Join("image", "testdata", "crane")
	if out, err := c.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "images: without crane: %s: %s\n", err, bytes.TrimSpace(out))
	}
	return nil
}

// fresh has the registry empty.
func (s *setting) fresh() error {
	dir := filepath.Join(s.dir, "registry")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		return err
	}
	store, err := registry.OpenFolder(dir)
	if err != nil {
		return err
	}
	s.registry.Store(&registry.Server{Store: store})
	return command("sync")()
}

// minidocker returns a command line of ours.
func (s *setting) minidocker(args ...string) func() error {
	return command(filepath.Join(s.programs, "minidocker"), append([]string{"--root", filepath.Join(s.dir, "ours")}, args...)...)
}

// podman returns one of podman's, with a store on the same file system.
func (s *setting) podman(args ...string) func() error {
	return command("podman", append([]string{"--root", filepath.Join(s.dir, "podman"), "--runroot", filepath.Join(s.programs, "run"),
		"--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}, args...)...)
}

// rest waits for what podman leaves running in the background when a container ends.
func (s *setting) rest() error {
	for range 300 {
		busy := false
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, path := range lines {
			b, _ := os.ReadFile(path)
			busy = busy || bytes.Contains(b, []byte(filepath.Join(s.dir, "podman")+"\x00"))
		}
		if !busy {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("podman does not come to rest")
}

func command(name string, args ...string) func() error {
	return func() error { return bench.Command(exec.Command(name, args...)) }
}

func all(steps ...func() error) error {
	for _, f := range steps {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
