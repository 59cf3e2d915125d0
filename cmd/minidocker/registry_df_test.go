package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
)

// TestRegistryDiskUsage: what df says of a folder in which there are a registry that was killed and a mirror's cache is what du says.
func TestRegistryDiskUsage(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireCommand(t, "du")
	root := t.TempDir()
	requireAsDu := func() int64 {
		t.Helper()
		df, err := exec.Command(newCommand(t), "--root", root, "system", "df", "--bytes", "--format", "{{.Type}} {{.Size}}").Output()
		require.NoError(t, err)
		sizes, sum := map[string]int64{}, int64(0)
		for line := range strings.Lines(string(df)) {
			at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
			n, err := strconv.ParseInt(strings.TrimSpace(line)[at+1:], 10, 64)
			require.NoError(t, err)
			if sizes[line[:at]] = n; line[:at] != "Total" {
				sum += n
			}
		}
		out, err := exec.Command("du", "-s", "-B1", root).Output()
		require.NoError(t, err)
		du, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
		require.NoError(t, err)
		require.Equal(t, du, sizes["Total"], string(df))
		require.Equal(t, du, sum, string(df))
		return du
	}
	empty := requireAsDu()
	image := testimage.New(t, ocispec.ImageConfig{}, testimage.Layer{{Name: "a", Content: bytes.Repeat([]byte("0123456789"), 30000)}})
	first, host := startRegistry(t, "--root", root)
	push(t, host+"/app:v1", image)
	_, mirror := startRegistry(t, "--root", root, "-d", filepath.Join(root, "mirror"), "--upstream", host)
	pulled := exec.Command(newCommand(t), "--root", t.TempDir(), "pull", "-q", mirror+"/app:v1")
	out, err := pulled.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, first.Process.Signal(syscall.SIGKILL))
	_ = first.Wait()
	require.Greater(t, requireAsDu(), empty+1000)
}
