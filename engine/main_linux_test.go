package engine

import (
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/namespace"
)

func TestMain(m *testing.M) {
	testenv.Lazy("guardian", func() error {
		w := &namespace.Ward{}
		if err := w.Register(); err != nil {
			return err
		}
		return w.Release()
	})
	testenv.Lazy("control groups, template namespace", warmUp)
	testenv.Main(m, map[string]testenv.Program{"run-limited": runLimited, "networker": networker, "volumer": volumer})
}
