package kernel

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFeature(t *testing.T) {
	answers := []error{errors.New("busy"), errors.ErrUnsupported, nil}
	f := &Feature{Name: "teleport(2)", Since: "9.1", Probe: func() error {
		err := answers[0]
		answers = answers[1:]
		return err
	}}
	require.ErrorContains(t, f.Err(), "busy")
	for range 2 {
		err := f.Err()
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.EqualError(t, err, "teleport(2) needs Linux 9.1: unsupported operation")
	}
}
