//go:build !linux

// Command exec times containers, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "exec: containers need Linux")
	os.Exit(1)
}
