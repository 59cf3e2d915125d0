//go:build !linux

package bundle

import (
	"errors"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func checkNamespace(*os.File, specs.LinuxNamespaceType) error { return errors.ErrUnsupported }
