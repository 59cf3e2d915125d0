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
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	keep := flag.Bool("keep", false, "start containers that outlive this program")
	os.Exit(bench.Main("density", 1000, "containers, 100 at least", func(s *bench.Setting) error {
		s.N = max(s.N, 100)
		return run(s, *keep)
	}))
}

func run(s *bench.Setting, keep bool) (err error) {
	ctx := context.Background()
	var alive []*container.Container
	var floors []*exec.Cmd
	defer func() {
		for _, c := range alive {
			err = errors.Join(err, c.Kill())
			_ = c.Wait(ctx) // killed
		}
		for _, f := range floors {
			err = errors.Join(err, f.Process.Kill())
			_ = f.Wait() // killed
		}
	}()
	start := func() error {
		c := container.New(namespace.Dir(s.Root), "/bin/sleep", "100000")
		c.Memory, c.PidsLimit = 64<<20, 20
		if keep {
			c.Cgroup = fmt.Sprintf("caisson-density-%d-%d", os.Getpid(), len(alive))
			c.Keep = &container.Keep{Dir: filepath.Join(s.Dir, c.Cgroup)}
			if err := os.Mkdir(c.Keep.Dir, 0o700); err != nil {
				return err
			}
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		alive = append(alive, c)
		return nil
	}
	floor := func() error {
		f := s.Floor("bin/sleep", "100000")
		if err := f.Start(); err != nil {
			return err
		}
		floors = append(floors, f)
		return nil
	}
	if err := start(); err != nil { // makes what is made once
		return err
	}
	before, _, err := ownMemory()
	if err != nil {
		return err
	}
	times, floorTimes := make([]time.Duration, s.N), make([]time.Duration, 0, floorsAlive)
	for i := range times {
		if times[i], err = timed(start); err != nil {
			return fmt.Errorf("container %d: %w", i, err)
		}
		if i < floorsAlive/2 || i >= s.N-floorsAlive/2 { // the floor is timed with the first and the last of them
			t, err := timed(floor)
			if err != nil {
				return fmt.Errorf("floor: %w", err)
			}
			floorTimes = append(floorTimes, t)
		}
	}
	after, keepers, err := ownMemory()
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d containers alive\n\n", bench.Machine(), s.N)
	printGrowth("start", times)
	printGrowth("the floor (clone with the namespaces, exec)", floorTimes)
	fmt.Printf("memory of the library's processes (PSS), a container: %.1f KB\n", float64(after-before)/1024/float64(s.N))
	if keep {
		fmt.Printf("of it, its keeper: %.1f KB (limit 30)\n", float64(keepers)/1024/float64(len(alive)))
	}
	return nil
}

// floorsAlive is how many processes in namespaces are started besides, half of them first and half of them last.
const floorsAlive = 100

func timed(f func() error) (time.Duration, error) {
	begun := time.Now()
	err := f()
	return time.Since(begun), err
}

// printGrowth says how the last fifty compare with the first.
func printGrowth(what string, times []time.Duration) {
	first, last := median(times[:50]), median(times[len(times)-50:])
	fmt.Printf("%s, median of the first 50: %.2f ms, of the last 50: %.2f ms, ratio %.2f\n", what, ms(first), ms(last), ms(last)/ms(first))
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
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // it has ended
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
