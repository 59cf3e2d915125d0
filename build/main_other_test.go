//go:build !linux

package build

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }
