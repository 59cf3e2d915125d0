//go:build linux

// Command pool times a start from a container.Pool, from the call to the end of /bin/true, in turns with a whole start and
// with the floor: clone with all the namespaces and exec. The aim is 1.7 times the floor at most.
//
//	go run ./bench/pool -n 300
package main

import (
	"context"
	"errors"
	"os"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/namespace"
)

func main() { os.Exit(bench.Main("pool", 300, "runs of each", run)) }

func run(s *bench.Setting) (err error) {
	ctx := context.Background()
	make := func(context.Context) (*container.Container, error) {
		c := container.New(namespace.Dir(s.Root))
		c.Memory, c.PidsLimit, c.CPUShares = 512<<20, 512, 1024
		return c, nil
	}
	start := func(get func(context.Context) (*container.Container, error)) func() error {
		return func() error {
			c, err := get(ctx)
			if err != nil {
				return err
			}
			c.Args = []string{"/bin/true"}
			return c.Run(ctx)
		}
	}
	pool := &container.Pool{Size: 8, New: make}
	defer func() { err = errors.Join(err, pool.Close()) }()
	// The pool is filled between the runs, and is not during them: one of eight is no reason.
	return s.Table(s.FloorCase(),
		&bench.Case{
			Name:    "caisson, from a pool",
			Prepare: func() error { return errors.Join(pool.Fill(ctx), bench.Rest()) },
			Run:     start(pool.Get),
		},
		&bench.Case{Name: "caisson, whole", Run: start(make)},
	)
}
