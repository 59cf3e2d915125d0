//go:build !linux

// Command pool times containers, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "pool: containers need Linux")
	os.Exit(1)
}
