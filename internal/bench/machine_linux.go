package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Machine says what the figures were measured on.
func Machine() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("Linux %s, %d processors", strings.TrimSpace(string(b)), runtime.NumCPU())
}

// Rest lets what a run leaves to the kernel's threads come to its end.
func Rest() error {
	time.Sleep(5 * time.Millisecond)
	return nil
}

// Rootfs makes dir a root file system with the true and the sleep of a static busybox.
func Rootfs(dir, busybox string) error {
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("%w (Debian's package busybox-static has it)", err)
	}
	for _, name := range []string{"true", "sleep"} {
		if err := os.WriteFile(filepath.Join(dir, "bin", name), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}
