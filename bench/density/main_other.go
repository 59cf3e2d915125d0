//go:build !linux

// Command density times containers, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "density: containers need Linux")
	os.Exit(1)
}
