package testenv_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Lazy("kept descriptor", func() error {
		f, err := os.Open(os.DevNull)
		kept = f
		return err
	})
	testenv.Main(m, map[string]testenv.Program{
		"echo": func(args []string) int {
			fmt.Println(strings.Join(args[1:], " "))
			return 7
		},
	})
}

// kept is open from before the tests to the end: Lazy makes it no leak.
var kept *os.File
