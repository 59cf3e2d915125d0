// Start a container, run further commands inside it, and stop it.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	ctx := context.Background()
	c := container.New(namespace.Dir("/"), "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
	c.ReadOnlyRoot = true
	c.Hostname = "example"
	check(c.Start(ctx))

	for _, args := range [][]string{{"hostname"}, {"cat", "/proc/1/comm"}, {"sh", "-c", "echo process $$"}} {
		out, err := c.Command(args...).Output(ctx)
		check(err)
		fmt.Printf("%v: %s", args, out)
	}

	stop, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	check(c.Stop(stop))
	check(c.Wait(ctx))
	fmt.Println("ended with", c.State)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
