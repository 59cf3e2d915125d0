// Run a command of this machine so that it sees all files and can change none, has no network, and sees no other process.
package main

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"sh", "-c", "id -un; ls /proc | grep -c '^[0-9]'; touch /etc/changed; echo $? "}
	}
	c := container.New(namespace.Dir("/"), args...)
	c.ReadOnlyRoot = true
	c.User = "nobody"
	c.CapDrop = []string{"ALL"}
	c.Mounts = []container.Mount{container.Tmpfs("/tmp", "size=16m,mode=1777")}
	c.Memory, c.PidsLimit = 256<<20, 100
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run(context.Background())
	var exit *container.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.Code)
	}
	if err != nil {
		log.Fatal(err)
	}
}
