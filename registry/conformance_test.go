package registry

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/internal/testenv"
)

const conformanceSuite = "github.com/opencontainers/distribution-spec/conformance"

// newConformanceSuite builds the specification's own test program, pinned in testdata/conformance/go.mod.
func newConformanceSuite(t testing.TB) string {
	t.Helper()
	testenv.RequireCommand(t, "go")
	if testing.Short() {
		t.Skip("builds another module")
	}
	program := filepath.Join(t.TempDir(), "conformance")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, conformanceSuite)
	build.Dir = filepath.Join("testdata", "conformance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		testenv.Skip(t, "the module "+conformanceSuite+": "+string(out))
	}
	return program
}

// TestConformance runs the OCI distribution conformance suite against our server, all of it: what is optional too.
func TestConformance(t *testing.T) {
	suite := newConformanceSuite(t)
	eachStore(t, func(t *testing.T, store fullStore) {
		for _, version := range []string{"1.1", "dev"} {
			t.Run(version, func(t *testing.T) { conform(t, suite, store, version) })
		}
	})
}

func conform(t *testing.T, suite string, store Store, version string) {
	host := newServer(t, &Server{Store: store, AllowMissing: true})
	cmd := exec.CommandContext(t.Context(), suite)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+host, "OCI_TLS=disabled", "OCI_VERSION="+version, "OCI_RESULTS_DIR="+cmd.Dir,
		"OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true", "OCI_API_BLOBS_UPLOAD_CANCEL=true",
		"OCI_API_MANIFESTS_TAG_PARAM=true", "OCI_DATA_SPARSE=true")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\w+)\.{3,}:\s+(\d+)$`).FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		counts[m[1]] = n
	}
	t.Log(counts)
	require.GreaterOrEqual(t, counts["Total"], 900, "%s", out)
	require.Equal(t, counts["Total"], counts["Pass"], "%s", out)
}
