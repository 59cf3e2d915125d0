//go:build !amd64

package sha256pair

func blocks(_, _ *[8]uint32, _, _ *byte, _ int) { panic("not capable") }

func capable() bool { return false }
