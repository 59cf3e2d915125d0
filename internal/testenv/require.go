package testenv

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

// VM says that the tests run in a virtual machine of package vm, where no command is installed.
func VM() bool { return os.Getenv("CAISSON_VM") != "" }

// RequireBoots skips the test, in CI too, unless it runs in a virtual machine that is started again, with its disk, when it goes
// off: `go run ./internal/vm -boots 2`. It returns how often the machine was started, from one on.
func RequireBoots(t testing.TB) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("CAISSON_BOOT"))
	if err != nil || os.Getenv("CAISSON_BOOTS") == "1" {
		t.Skip("needs a virtual machine that is started again: go run ./internal/vm -boots 2")
	}
	return n
}

// Skip skips the test for want of a feature of this machine. With CI=true in the environment it fails it instead: a
// machine of the CI has everything. In a VM, and on systems other than Linux, it always skips.
func Skip(t testing.TB, feature string) {
	t.Helper()
	if os.Getenv("CI") == "true" && !VM() && runtime.GOOS == "linux" {
		t.Fatalf("the CI's machine must have it: %s", feature)
	}
	t.Skipf("needs %s", feature)
}

// RequireRoot skips the test unless it runs as root on Linux. See [Skip].
func RequireRoot(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	if os.Geteuid() != 0 {
		Skip(t, "root")
	}
}

// RequireCommand skips the test unless all commands are found in PATH. See [Skip].
func RequireCommand(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Skip(t, "the command "+name)
		}
	}
}

// RequireSystemd skips the test, in CI too, unless systemd has started the machine: a virtual machine of package vm with
// -systemd, say.
func RequireSystemd(t testing.TB) {
	t.Helper()
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		t.Skip("needs a machine whose first process is systemd")
	}
}

// RequireKernel skips the test, in CI too, unless the kernel is Linux major.minor or newer.
func RequireKernel(t testing.TB, major, minor int) {
	t.Helper()
	haveMajor, haveMinor := kernelVersion()
	if haveMajor < major || haveMajor == major && haveMinor < minor {
		t.Skipf("needs Linux %d.%d, this is %s %d.%d", major, minor, runtime.GOOS, haveMajor, haveMinor)
	}
}
