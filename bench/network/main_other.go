//go:build !linux

// Command network times containers, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "network: containers need Linux")
	os.Exit(1)
}
