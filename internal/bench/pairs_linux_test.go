package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPairs counts on the clock for its least only.
func TestPairs(t *testing.T) {
	var order string
	var ended time.Time
	var rests []time.Duration
	add := func(name string) *Case {
		return &Case{Name: name, Prepare: func() error { order += "p"; return nil }, Run: func() error {
			rests = append(rests, time.Since(ended))
			order += name
			ended = time.Now()
			return nil
		}}
	}
	s := &Setting{N: 1}
	require.NoError(t, s.Pairs(add("a"), add("b")))
	require.Equal(t, "papapbpbpapapbpb", order, "a round that does not count, and one")
	for i := 0; i < len(rests); i += 2 {
		require.GreaterOrEqual(t, rests[i], Cool)
	}
}
