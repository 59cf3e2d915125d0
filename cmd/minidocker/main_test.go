package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	// What containers are connected to is not the machine's own network.
	if filepath.Base(os.Args[0]) != "minidocker" {
		_ = os.Setenv("CAISSON_NETWORK_NAMESPACE", testenv.MustNetns())
	}
	testenv.Main(m, map[string]testenv.Program{"minidocker": func(args []string) int { return run(args[1:]) }})
}
