//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "minirunc: containers take Linux")
	os.Exit(1)
}
