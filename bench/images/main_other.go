//go:build !linux

// Command images times what is done with images, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "images: layers need Linux")
	os.Exit(1)
}
