//go:build !linux

// Command start times containers, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "start: containers need Linux")
	os.Exit(1)
}
