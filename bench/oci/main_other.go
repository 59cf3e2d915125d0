//go:build !linux

// Command oci times OCI runtimes, which there are on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "oci: containers need Linux")
	os.Exit(1)
}
