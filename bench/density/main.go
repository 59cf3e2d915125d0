//go:build linux

// Command density starts a thousand containers and lets them live: the last fifty shall start as fast as the first, and
// what the library itself holds for one, in the host program and its guardian, shall be at most 100 KB. With -keep the
// containers are ones that outlive the program, and their keepers shall have at most 30 KB each.
//
//	go run ./bench/density -n 1000
//	go run ./bench/density -n 1000 -keep
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	n := flag.Int("n", 1000, "containers, 100 at least")
	busybox := flag.String("busybox", "/bin/busybox", "a static executable that is /bin/sleep under that name")
	keep := flag.Bool("keep", false, "start containers that outlive this program")
	flag.Parse()
	if err := run(max(*n, 100), *busybox, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "density:", err)
		os.Exit(1)
	}
}

func run(n int, busybox string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "caisson-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root := filepath.Join(dir, "root")
	if err := bench.Rootfs(root, busybox); err != nil {
		return err
	}
	ctx := context.Background()
	var alive []*container.Container
	defer func() {
		for _, c := range alive {
			err = errors.Join(err, c.Kill())
			_ = c.Wait(ctx) // killed
		}
	}()
	start := func() (time.Duration, error) {
		c := container.New(namespace.Dir(root), "/bin/sleep", "100000")
		c.Memory, c.PidsLimit = 64<<20, 20
		if keep {
			c.Cgroup = fmt.Sprintf("caisson-density-%d-%d", os.Getpid(), len(alive))
			c.Keep = &container.Keep{Dir: filepath.Join(dir, c.Cgroup)}
			if err := os.Mkdir(c.Keep.Dir, 0o700); err != nil {
				return 0, err
			}
		}
		begun := time.Now()
		if err := c.Start(ctx); err != nil {
			return 0, err
		}
		alive = append(alive, c)
		return time.Since(begun), nil
	}
	if _, err := start(); err != nil { // makes what is made once
		return err
	}
	before, _, err := ownMemory()
	if err != nil {
		return err
	}
	times := make([]time.Duration, n)
	for i := range times {
		if times[i], err = start(); err != nil {
			return fmt.Errorf("container %d: %w", i, err)
		}
	}
	after, keepers, err := ownMemory()
	if err != nil {
		return err
	}
	first, last := median(times[:50]), median(times[n-50:])
	fmt.Printf("%s, %d containers alive\n\n", bench.Machine(), n)
	fmt.Printf("start, median of the first 50: %.2f ms, of the last 50: %.2f ms, ratio %.2f\n", ms(first), ms(last), ms(last)/ms(first))
	fmt.Printf("memory of the library's processes (PSS), a container: %.1f KB\n", float64(after-before)/1024/float64(n))
	if keep {
		fmt.Printf("of it, its keeper: %.1f KB (limit 30)\n", float64(keepers)/1024/float64(len(alive)))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

// ownMemory is the proportional set size, in bytes, of this program and of what it runs to look after containers: children
// and orphans that are not the containers' own commands. keepers is that of the keepers among them.
func ownMemory() (total, keepers int64, err error) {
	const keeper = "caisson-keep\n"
	runtime.GC()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range append(names, "/proc/self/comm") {
		comm, _ := os.ReadFile(name)
		if s := string(comm); name != "/proc/self/comm" && s != "caisson-guard\n" && s != keeper && !strings.HasPrefix(s, "caisson/") {
			continue
		}
		pss, err := pss(filepath.Dir(name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, 0, err
		}
		total += pss
		if string(comm) == keeper {
			keepers += pss
		}
	}
	return total, keepers, nil
}

func pss(proc string) (int64, error) {
	b, err := os.ReadFile(proc + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("%s/smaps_rollup: no Pss", proc)
}
