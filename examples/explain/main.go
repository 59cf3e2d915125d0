// Print the system calls by which a container would be started, without starting it.
package main

import (
	"fmt"
	"log"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

func main() {
	c := container.New(namespace.Dir("/"), "echo", "hello")
	c.ReadOnlyRoot = true
	c.User = "nobody"
	program, err := c.Program()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(program)
}
