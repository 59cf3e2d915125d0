//go:build !linux

package seccomp

import (
	"errors"
	"fmt"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var errNoDefault = fmt.Errorf("seccomp: the default profile is known on Linux only: %w", errors.ErrUnsupported)

func runningKernel() (seccomp.KernelVersion, error) {
	return seccomp.KernelVersion{}, fmt.Errorf("the kernel's version: not Linux: %w", errors.ErrUnsupported)
}

// DefaultProfile returns an error that satisfies errors.ErrUnsupported.
func DefaultProfile(*Target) (*specs.LinuxSeccomp, error) { return nil, errNoDefault }

// Default returns an error that satisfies errors.ErrUnsupported.
func Default([]string, bool) (Filter, error) { return nil, errNoDefault }
