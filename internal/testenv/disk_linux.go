package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// NewDisk mounts a small ext4 file system in a file, of so many MiB, and returns the folder. It skips the test where there
// is no loop device.
func NewDisk(t testing.TB, mib int) string {
	t.Helper()
	RequireRoot(t)
	RequireCommand(t, "mkfs.ext4", "mount")
	file, at := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, int64(mib)<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-i", "4096", file).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", file, at).CombinedOutput(); err != nil {
		Skip(t, "a loop device: "+string(out))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(at, 0); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return at
}
