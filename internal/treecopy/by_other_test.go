//go:build !linux

package treecopy_test

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/treecopy"
)

// trees are the ways to open one.
func trees(*testing.T) map[string]func(*testing.T, string) treecopy.Tree {
	return map[string]func(*testing.T, string) treecopy.Tree{"root": openRoot}
}
