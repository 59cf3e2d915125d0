package dockerapi

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	warmUp()
	testenv.Main(m, nil)
}
