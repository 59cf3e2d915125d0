// Pull an image, mount its layers, run its command with limits, and read what it prints.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/layer"
)

func main() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	// The engine answers hello-world itself; image.Pull pulls from registries without an engine.
	e, err := engine.Open(ctx, dir, nil)
	check(err)
	defer e.Close()
	img, err := e.Pull(ctx, "hello-world", nil)
	check(err)
	root, err := layer.Mount(ctx, img.Layers, nil)
	check(err)
	defer root.Close()
	c := container.New(root, img.Config.Config.Cmd...)
	c.Memory, c.CPUs, c.PidsLimit = 64<<20, 0.5, 20
	out, err := c.Output(ctx)
	check(err)
	fmt.Printf("%s%d bytes in %v\n", out, len(out), c.State.Ended.Sub(c.State.Started).Round(1000))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
