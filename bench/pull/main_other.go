//go:build !linux

// Command pull times the pulling of an image, which there is on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "pull: layers need Linux")
	os.Exit(1)
}
