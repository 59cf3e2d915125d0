// See what happens at a limit: the kernel kills for want of memory, and the error says so; the state tells what was used.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	ctx := context.Background()
	root := namespace.Dir("/")

	hungry := container.New(root, "sh", "-c", "x=0123456789; while :; do x=$x$x; done")
	hungry.ReadOnlyRoot = true
	hungry.Memory, hungry.MemorySwap = 16<<20, 16<<20
	err := hungry.Run(ctx)
	var exit *container.ExitError
	if !errors.As(err, &exit) || !exit.OOMKilled {
		log.Fatalf("it was not killed for want of memory: %v", err)
	}
	fmt.Println("the hungry one:", err)

	busy := container.New(root, "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
	busy.ReadOnlyRoot = true
	busy.CPUs = 0.5
	if err := busy.Run(ctx); err != nil {
		log.Fatal(err)
	}
	s := busy.State
	fmt.Printf("the busy one: %v of CPU in %v\n", s.UserTime+s.SystemTime, s.Ended.Sub(s.Started))
}
