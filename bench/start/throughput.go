//go:build linux

package main

import (
	"errors"
	"fmt"
	"os/exec"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

// rounds is how often what shall be compared takes its turn.
const rounds = 3

// throughputs counts how many containers a second several launchers start and see end, in turns with crun.
func throughputs(s *bench.Setting, d time.Duration) error {
	type launcher struct {
		name string
		make func() func() error // one launcher's own
	}
	all := []launcher{{"caisson, a folder as root", func() func() error {
		return func() error { return start(namespace.Dir(s.Root)) }
	}}}
	if _, err := exec.LookPath("crun"); err == nil {
		run := runtime(s, "crun")
		all = append(all, launcher{"crun run", func() func() error {
			oci := bench.WithoutUnified() // a thread each
			return func() error { return oci(run) }
		}})
	}
	fmt.Printf("%s, %d turns, %v in all\n\n| | launchers | containers/s | ratio |\n|---|---|---|---|\n", bench.Machine(), rounds, d)
	for _, n := range []int{goruntime.NumCPU(), 2 * goruntime.NumCPU()} {
		rates := make([]float64, len(all))
		for range rounds {
			for i, l := range all {
				rate, err := rateOf(n, d/rounds, l.make)
				if err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
				rates[i] += rate / rounds
			}
		}
		for i, l := range all {
			fmt.Printf("| %s | %d | %.0f | %.2f |\n", l.name, n, rates[i], rates[0]/rates[i])
		}
	}
	return nil
}

// rateOf is how often a second n launchers together succeed.
func rateOf(n int, d time.Duration, launcher func() func() error) (float64, error) {
	var count atomic.Int64
	errs := make([]error, n)
	begun := time.Now()
	var all sync.WaitGroup
	for i := range n {
		run := launcher()
		all.Go(func() {
			for errs[i] == nil && time.Since(begun) < d {
				errs[i] = run()
				count.Add(1)
			}
		})
	}
	all.Wait()
	return float64(count.Load()) / time.Since(begun).Seconds(), errors.Join(errs...)
}
