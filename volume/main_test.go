package volume

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m, programs) }

// programs are the helper programs that the test binary plays.
var programs = map[string]testenv.Program{}
