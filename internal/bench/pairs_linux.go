package bench

import (
	"fmt"
	"os"
	"time"
)

// Cool is the rest after which a run finds the kernel as a command does that somebody calls for once.
//
// Who writes a process's number to cgroup.procs takes a lock against all of the machine's forks, which is made for those who fork:
// the writer waits for an RCU grace period, 10 to 30 ms. For about as long after it the next writer need not wait. So a
// runtime that joins groups in that way is faster by two thirds right after one that did the same, its like or its peer, and in
// turns without a rest the order decides. A process that writes 0 to tasks, as ours do, takes no such lock.
const Cool = 100 * time.Millisecond

// Pairs runs every case twice in its turn, after a rest of [Cool] and right after that, N times, and prints a table of either:
// what another case has left to the kernel has no part in them.
func (s *Setting) Pairs(cases ...*Case) error {
	var turns, first, next []*Case
	for _, c := range cases {
		f, n := *c, *c
		f.Prepare = func() error {
			time.Sleep(Cool)
			if c.Prepare == nil {
				return nil
			}
			return c.Prepare()
		}
		turns, first, next = append(turns, &f, &n), append(first, &f), append(next, &n)
	}
	if err := InTurns(s.N, turns...); err != nil {
		return err
	}
	fmt.Printf("%s, %d runs each\n\nAfter a rest of %v:\n\n", Machine(), s.N, Cool)
	if err := Table(os.Stdout, first...); err != nil {
		return err
	}
	fmt.Print("\nRight after one like it:\n\n")
	return Table(os.Stdout, next...)
}
