package main

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, map[string]testenv.Program{"minidocker": func(args []string) int { return run(args[1:]) }})
}
