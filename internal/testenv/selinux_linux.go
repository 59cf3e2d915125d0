package testenv

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

//go:embed testdata/selinux.bin
var selinuxPolicy []byte

// Contexts of the policy of [EnforceSELinux]: of the host, of a container's processes, and of the only files that these may write.
const (
	SELinuxHost    = "u:r:host_t:s0-s0:c0.c2"
	SELinuxProcess = "u:r:container_t:s0:c1"
	SELinuxFile    = "u:object_r:container_file_t:s0:c1"
)

// EnforceSELinux loads a policy (testdata/selinux.cil), which stays until the machine ends, and has the kernel enforce it until the
// test ends. It skips the test where the kernel has no SELinux.
func EnforceSELinux(t testing.TB) {
	t.Helper()
	RequireRoot(t)
	known, err := os.ReadFile("/proc/filesystems")
	must(t, err)
	if !strings.Contains(string(known), "\tselinuxfs\n") {
		t.Skip("SELinux is not on: go run ./internal/vm -append security=selinux")
	}
	fs := t.TempDir()
	must(t, syscall.Mount("selinuxfs", fs, "selinuxfs", 0, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(fs, 0)) })
	must(t, os.WriteFile(filepath.Join(fs, "load"), selinuxPolicy, 0))
	must(t, os.WriteFile(filepath.Join(fs, "enforce"), []byte("1"), 0))
	t.Cleanup(func() { must(t, os.WriteFile(filepath.Join(fs, "enforce"), []byte("0"), 0)) })
}
