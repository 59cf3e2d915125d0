//go:build !linux

package testenv

import "testing"

// NewNetns skips: there are none here.
func NewNetns(t testing.TB) string {
	t.Helper()
	RequireRoot(t)
	return ""
}

// MustNetns returns "".
func MustNetns() string { return "" }
