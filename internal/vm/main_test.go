package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/vm/job"
)

func TestMain(m *testing.M) { testenv.Main(m, nil) }

func TestCompareVersions(t *testing.T) {
	want := []string{
		"linux-image-6.12.9+deb12-cloud-amd64", "linux-image-6.12.100+deb12-cloud-amd64",
		"linux-image-6.12.100+deb13-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	require.Equal(t, want, got)
	require.Zero(t, compareVersions("a-01", "a-1"))
}

// TestCPIO has the archive unpacked by the program whose format it is.
func TestCPIO(t *testing.T) {
	testenv.RequireCommand(t, "cpio")
	var b bytes.Buffer
	c := newCPIO(&b)
	require.NoError(t, c.Dir("dir"))
	for name, content := range map[string]string{
		"dir/a": "", "dir/bb": "1", "ccc": "12345", "dd": strings.Repeat("x", 1<<20),
	} {
		require.NoError(t, c.File(name, 0o755, []byte(content)))
	}
	require.NoError(t, c.Close())
	require.Zero(t, b.Len()%4)

	dir := t.TempDir()
	cmd := exec.Command("cpio", "-i", "--quiet")
	cmd.Dir, cmd.Stdin = dir, &b
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, size := range map[string]int64{"dir/a": 0, "dir/bb": 1, "ccc": 5, "dd": 1 << 20} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, size, info.Size())
		require.Equal(t, os.FileMode(0o755), info.Mode())
	}
}

func TestModuleName(t *testing.T) {
	for path, want := range map[string]string{
		"kernel/net/bridge/br_netfilter.ko":   "br_netfilter",
		"/lib/modules/x/nf-log-syslog.ko.xz":  "nf_log_syslog",
		"kernel/lib/libcrc32c.ko":             "libcrc32c",
		"kernel/drivers/net/veth.ko.zst":      "veth",
		"kernel/drivers/virtio/virtio-pci.ko": "virtio_pci",
	} {
		require.Equal(t, want, moduleName(path))
	}
}

func TestInterruptedFillLeavesNothing(t *testing.T) {
	a := &archive{cache: t.TempDir(), arch: "amd64"}
	broken := errors.New("broken")
	_, err := a.cached("thing", func(dir string) error {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "half"), nil, 0o644))
		return broken
	})
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(a.cache)
	require.NoError(t, err)
	require.Empty(t, left)

	dir, err := a.cached("thing", func(dir string) error { return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o644) })
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "whole"))
	_, err = a.cached("thing", func(string) error { return broken })
	require.NoError(t, err, "it is there")
}

func TestBuildNeedsTests(t *testing.T) {
	testenv.RequireCommand(t, "go")
	_, err := build(context.Background(), "amd64", t.TempDir(), nil)
	require.Error(t, err)
	_, err = build(context.Background(), "amd64", t.TempDir(), []string{"../vm/init"})
	require.ErrorContains(t, err, "no tests")
}

func TestVerdict(t *testing.T) {
	two := &job.Job{Runs: []job.Run{{Name: "a"}, {Name: "b"}}}
	for name, c := range map[string]struct {
		results []job.Result
		begun   string
		done    bool
		message string
	}{
		"passed":    {[]job.Result{{Name: "a"}, {Name: "b"}}, "", true, ""},
		"failed":    {[]job.Result{{Name: "a"}, {Name: "b", Code: 2}}, "", true, "tests failed: b"},
		"panic":     {[]job.Result{{Name: "a"}}, "b", false, "the machine ended in b"},
		"no boot":   {nil, "", false, "the machine ended early"},
		"qemu died": {[]job.Result{{Name: "a"}, {Name: "b"}}, "", false, "the machine ended early"},
		"too few":   {[]job.Result{{Name: "a"}}, "", true, "the machine ended early"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &machine{options: &options{arch: "amd64"}, kernel: &kernel{release: "6"}, job: two}
			err := m.verdict(c.results, c.begun, c.done, 0)
			if c.message == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errFailed)
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestTrapFinder(t *testing.T) {
	for text, want := range map[string]bool{"[ 41.2] Oops: int3: 0000 [#1]": true, "Oops: 0002": false} {
		f := &trapFinder{}
		for _, b := range []byte(text) {
			_, _ = f.Write([]byte{b})
		}
		require.Equal(t, want, f.found, text)
	}
}
