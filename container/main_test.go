package container_test

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Lazy("guardian", warmGuardian)
	testenv.Lazy("control groups, template namespace", warmUp)
	testenv.Main(m, programs)
}
