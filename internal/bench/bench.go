// Package bench times what shall be compared in turns, one run of each after the other, so that a machine's mood meets
// all alike, and prints medians, tails and ratios.
package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// A Case is something to be timed.
type Case struct {
	// Name is how the table calls it.
	Name string
	// Run does it once.
	Run func() error
	// Prepare and Clean, if set, are called before and after each Run and not timed.
	Prepare, Clean func() error

	times []time.Duration
}

// InTurns runs every case n times, in turns, after one run of each that does not count.
func InTurns(n int, cases ...*Case) error {
	for i := range n + 1 {
		for _, c := range cases {
			d, err := c.once()
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			if i > 0 {
				c.times = append(c.times, d)
			}
		}
	}
	return nil
}

func (c *Case) once() (d time.Duration, err error) {
	if c.Prepare != nil {
		if err := c.Prepare(); err != nil {
			return 0, err
		}
	}
	t := time.Now()
	err = c.Run()
	d = time.Since(t)
	if c.Clean != nil && err == nil {
		err = c.Clean()
	}
	return d, err
}

// Quantile is the time below which the fraction q of the runs lies.
func (c *Case) Quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(c.times))
	if len(s) == 0 {
		return 0
	}
	return s[min(int(float64(len(s))*q), len(s)-1)]
}

// Table writes a row a case: median and 99th percentile, and how often the first case's median goes into it.
func Table(w io.Writer, cases ...*Case) error {
	if _, err := fmt.Fprint(w, "| | median ms | p99 ms | ratio |\n|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, c := range cases {
		m := c.Quantile(.5)
		_, err := fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f |\n", c.Name, ms(m), ms(c.Quantile(.99)),
			float64(m)/float64(cases[0].Quantile(.5)))
		if err != nil {
			return err
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
