package container_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/testenv"
)

func init() {
	programs["supported"] = func([]string) int {
		for _, s := range container.Supported() {
			fmt.Printf("%s: %v: %s: %s\n", s.Feature, s.Available, s.Reason, s.Fix)
		}
		return 0
	}
}

func TestSupported(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireKernel(t, 5, 12)
	all := container.Supported()
	require.Len(t, all, 7)
	for _, s := range all {
		if s.Feature != "time namespaces" {
			require.True(t, s.Available, s)
		}
	}
	// An ordinary user without anything.
	root := testenv.NewRootfs(t, "supported")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin/supported"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 64123, Gid: 64123}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, want := range []string{
		"containers: true: : \n", "user namespaces: true: : \n", "ranges of ids: false: ", "idmapped mounts: false: mapping the owners of a mount takes CAP_SYS_ADMIN",
		"overlay: true: ", "control groups: false: ", "Delegate=yes",
	} {
		require.Contains(t, string(out), want)
	}
}
