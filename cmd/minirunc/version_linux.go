package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// version is that of minirunc.
const version = "0.1.0"

// printVersion prints the lines that podman shows, and that Docker and containerd read.
func (c *command) printVersion() {
	fmt.Fprintln(c.stdout, "minirunc version", version)
	if commit := commit(); commit != "" {
		fmt.Fprintln(c.stdout, "commit:", commit)
	}
	fmt.Fprintln(c.stdout, "spec:", specs.Version)
	fmt.Fprintln(c.stdout, "go:", runtime.Version())
}

// commit is what the command was built from, if that is known.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
