package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// UnitProperties are those of a unit of systemd, as systemctl has them.
func UnitProperties(t testing.TB, unit string, names ...string) map[string]string {
	t.Helper()
	out, err := exec.Command("systemctl", "show", unit, "-p", strings.Join(names, ",")).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl show %s: %v: %s", unit, err, out)
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[name] = value
	}
	return all
}

// SystemdGroup is the control group of a process as systemd sees it.
func SystemdGroup(t testing.TB, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "" && f[0] == "0" || f[1] == "name=systemd" {
			return f[2]
		}
	}
	t.Fatalf("process %d is in no group of systemd: %s", pid, b)
	return ""
}
