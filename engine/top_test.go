package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProcessRows: threads, which have no number of a process, are their process's.
func TestProcessRows(t *testing.T) {
	rows, err := processRows("PID TID CMD\n1 - init\n- 1 -\n7 - sleep 60\n- 7 -\n- 8 -\n9 - other\n- 9 -\n", []int{7})
	require.NoError(t, err)
	require.Equal(t, [][]string{{"PID", "TID", "CMD"}, {"7", "-", "sleep 60"}, {"-", "7", "-"}, {"-", "8", "-"}}, rows)
	_, err = processRows("PID CMD\nx init\n", nil)
	require.ErrorContains(t, err, `ps shows the process "x"`)
	_, err = processRows("CMD\n", nil)
	require.ErrorContains(t, err, "no column PID")
}
