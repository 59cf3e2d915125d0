package bench

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInTurns(t *testing.T) {
	var order []string
	add := func(s string) func() error { return func() error { order = append(order, s); return nil } }
	a := &Case{Name: "a", Run: add("a"), Prepare: add("p"), Clean: add("c")}
	b := &Case{Name: "b", Run: add("b")}
	require.NoError(t, InTurns(2, a, b))
	require.Equal(t, "pacbpacbpacb", strings.Join(order, ""))
	require.Len(t, a.times, 2)
	b.Run = func() error { return errors.New("broken") }
	require.EqualError(t, InTurns(1, a, b), "b: broken")
}

func TestTable(t *testing.T) {
	a, b := &Case{Name: "a"}, &Case{Name: "b"}
	for i := range 100 {
		a.times = append(a.times, time.Duration(100-i)*time.Millisecond)
		b.times = append(b.times, 2*time.Duration(i+1)*time.Millisecond)
	}
	var s strings.Builder
	require.NoError(t, Table(&s, a, b))
	require.Contains(t, s.String(), "| a | 51.00 | 100.00 | 1.00 |\n| b | 102.00 | 200.00 | 2.00 |\n")
}
