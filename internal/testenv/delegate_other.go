//go:build !linux

package testenv

import (
	"os"
	"testing"
)

// DelegateCgroup skips the test: the system is not Linux.
func DelegateCgroup(t testing.TB, _ int) (program *os.File, parent string) {
	t.Helper()
	t.Skip("needs Linux")
	return nil, ""
}
