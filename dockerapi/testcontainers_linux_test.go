package dockerapi

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

// TestTestcontainers has testcontainers for Go, and with it moby's own client, do what tests have them do. They are a module of their own, so
// that this one depends on nothing of them; its program is also that of the container which cleans up after it.
func TestTestcontainers(t *testing.T) {
	testenv.RequireCommand(t, "go", "nsenter")
	p := newPeer(t)
	program := filepath.Join(t.TempDir(), "testcontainers")
	build := exec.Command("go", "test", "-C", "../internal/peers/testcontainers", "-c", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs in a container, too
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(program)
	require.NoError(t, err)

	shell := testimage.New(t, ocispec.ImageConfig{Cmd: []string{"sh"}}, testimage.Busybox(t))
	ryuk := testimage.New(t, ocispec.ImageConfig{Cmd: []string{"/ryuk"}}, testimage.Layer{{Name: "ryuk", Content: content}})
	server := httptest.NewServer(&registry.Server{Store: testimage.Store{"shell:latest": shell, "ryuk:latest": ryuk}})
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	_, err = p.e.Pull(t.Context(), host+"/ryuk", nil)
	require.NoError(t, err)
	require.NoError(t, p.e.Tag(t.Context(), host+"/ryuk", "testcontainers/ryuk:0.14.0"))

	for _, disabled := range []string{"false", "true"} {
		t.Run("disabled ryuk is "+disabled, func(t *testing.T) {
			c := exec.Command("nsenter", "--net="+p.netns, program, "-test.v", "-test.timeout=5m")
			if disabled == "true" {
				c.Args = append(c.Args, "-test.run=^(TestNetwork|TestLeft)$")
			}
			c.Env = append(p.command().Env, "TEST_IMAGE="+host+"/shell:latest", "TESTCONTAINERS_RYUK_DISABLED="+disabled)
			out, err := c.CombinedOutput()
			require.NoError(t, err, "%s", out)
			if disabled == "true" {
				p.docker("rm", "-f", "left")
				return
			}
			require.Eventually(t, func() bool { return p.docker("ps", "-aq") == "" }, time.Minute, 10*time.Millisecond)
			require.Equal(t, "bridge\nhost\nnone\n", p.docker("network", "ls", "--format", "{{.Name}}"))
		})
	}
}
