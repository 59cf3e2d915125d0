package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A writes counts what it is handed.
type writes struct {
	bytes.Buffer
	calls int
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls++
	return w.Buffer.Write(p)
}

// TestPrintWritesFew: a table of hundreds of rows takes a few system calls, not one for each cell.
func TestPrintWritesFew(t *testing.T) {
	f, err := newFormatter(imageTable)
	require.NoError(t, err)
	var rows []any
	for range 500 {
		rows = append(rows, imageRow{Repository: "app", Tag: "latest", ID: "0123456789ab", CreatedSince: "2 days ago", Size: "1MB"})
	}
	var out writes
	require.NoError(t, f.print(&out, imageHeadings, rows))
	require.Equal(t, 501, strings.Count(out.String(), "\n"))
	require.LessOrEqual(t, out.calls, out.Len()/4096+1)
}
