package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// TestPodman: podman pulls from our registry what we pull from there, and we run what it made and pushed.
func TestPodman(t *testing.T) {
	h := newHost(t)
	testenv.RequireCommand(t, "podman", "tar", "busybox")
	dir := t.TempDir()
	run, err := os.MkdirTemp("/tmp", "podman-") // podman wants a short path
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(run)) })
	podman := func(args ...string) string {
		t.Helper()
		store := []string{"--root", dir + "/root", "--runroot", run, "--storage-driver", "vfs"}
		c := exec.Command("podman", append(store, args...)...)
		c.Env = append(os.Environ(), "TMPDIR="+dir, "XDG_CONFIG_HOME="+dir)
		var out, diag bytes.Buffer
		c.Stdout, c.Stderr = &out, &diag
		require.NoError(t, c.Run(), diag.String())
		return strings.TrimSpace(out.String())
	}
	id := podman("pull", "-q", "--tls-verify=false", h.image)
	require.Equal(t, "sha256:"+id+"\n", h.output("images", "-q", "--no-trunc", h.image))
	require.Equal(t, "[sh]", podman("image", "inspect", "--format", "{{.Config.Cmd}}", id))

	root := filepath.Join(dir, "files")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin", "busybox"), program, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "made"), []byte("by podman\n"), 0o644))
	archive := filepath.Join(dir, "files.tar")
	out, err := exec.Command("tar", "-C", root, "-cf", archive, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	made := strings.TrimSuffix(h.image, "/busybox") + "/bypodman:v1"
	id = podman("import", "-q", "--change", `CMD ["/bin/busybox", "cat", "/made"]`, "--change", "WORKDIR /work", archive, made)
	podman("push", "-q", "--tls-verify=false", made)
	require.Equal(t, "by podman\n", h.output("run", "-q", "--rm", made))
	require.Contains(t, h.output("images", "-q", "--no-trunc", made), strings.TrimPrefix(id, "sha256:"))
	require.Equal(t, "/work\n", h.output("run", "--rm", made, "/bin/busybox", "pwd"))
}
