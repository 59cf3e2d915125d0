//go:build !linux

package ocistate

import "os"

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }
