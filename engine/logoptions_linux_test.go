package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogSize(t *testing.T) {
	for text, want := range map[string]int64{
		"max-size 10m max-file 1": 4 << 20, "max-size 10m max-file 3": 8 << 20, "max-size 64k max-file 2": 64 << 10, "max-size 1 max-file 1": 64 << 10,
		"max-size -1 max-file 1": 0, "max-size 900t max-file 2000000000": 1 << 40,
	} {
		var size, files string
		_, err := fmt.Sscanf(text, "max-size %s max-file %s", &size, &files)
		require.NoError(t, err)
		got, err := (&Config{LogDriver: "local", LogOptions: map[string]string{"max-size": size, "max-file": files}}).logSize()
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	got, err := (&Config{}).logSize()
	require.NoError(t, err)
	require.Zero(t, got)
	for want, c := range map[string]Config{
		`log driver "syslog"`:           {LogDriver: "syslog"},
		"log option tag=x":              {LogOptions: map[string]string{"tag": "x"}},
		"log option compress=true":      {LogOptions: map[string]string{"compress": "true"}},
		"log option max-size=0":         {LogOptions: map[string]string{"max-size": "0"}},
		"log option max-size=many":      {LogOptions: map[string]string{"max-size": "many"}},
		"log option max-file=0":         {LogOptions: map[string]string{"max-file": "0"}},
		"max-file=2: it needs max-size": {LogOptions: map[string]string{"max-file": "2"}},
	} {
		_, err := c.logSize()
		require.ErrorContains(t, err, want)
	}
}

// TestLogOptions: the log of a container in background takes no more than is asked for, and one that cannot be is refused when it is created.
func TestLogOptions(t *testing.T) {
	e := newEngine(t)
	cfg := &Config{Image: pullBusybox(t, e), Network: "none", LogOptions: map[string]string{"max-size": "128k"}}
	c := detached(t, e, cfg, "seq 1 100000")
	_, err := e.WaitFor(t.Context(), c.ID)
	require.NoError(t, err)
	var size int64
	files, err := filepath.Glob(filepath.Join(e.keepDir(c.ID), "log*"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		st, err := os.Stat(f)
		require.NoError(t, err)
		size += st.Size()
	}
	require.LessOrEqual(t, size, int64((128+128)<<10)) // a frame may go beyond each of the two
	require.Greater(t, size, int64(64<<10))
	cfg.LogDriver = "gelf"
	_, err = e.Create(t.Context(), cfg)
	require.ErrorContains(t, err, `log driver "gelf"`)
}
