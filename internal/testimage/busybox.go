package testimage

import (
	"debug/elf"
	"os"
	"os/exec"
	"testing"

	"github.com/caisson-engine/caisson/internal/testenv"
)

// applets are what of busybox the tests use.
var applets = []string{
	"cat", "chmod", "cp", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "id", "ip", "kill", "ls", "mkdir",
	"mount", "ps", "pwd", "readlink", "rm", "sh", "sleep", "sort", "stat", "stty", "test", "touch", "true", "tty", "wc", "yes",
}

// Busybox returns a layer with the machine's static busybox in /bin, the users root and app (1000:1000, also in the group
// staff, 2000), and the usual empty folders. The test is skipped where there is no such busybox.
func Busybox(t testing.TB) Layer {
	t.Helper()
	testenv.RequireCommand(t, "busybox")
	path, err := exec.LookPath("busybox")
	must(t, err)
	program, err := os.ReadFile(path)
	must(t, err)
	f, err := elf.Open(path)
	must(t, err)
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		testenv.Skip(t, "a static busybox")
	}
	l := Layer{
		{Name: "bin/"}, {Name: "etc/"}, {Name: "root/", Mode: 0o700}, {Name: "home/"}, {Name: "home/app/", UID: 1000, GID: 1000},
		{Name: "tmp/", Mode: 0o1777}, {Name: "proc/"}, {Name: "sys/"}, {Name: "dev/"},
		{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\n" +
			"app:x:1000:1000:app:/home/app:/bin/sh\n")},
		{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\napp:x:1000:\nstaff:x:2000:app\n")},
		{Name: "bin/busybox", Content: program},
	}
	for _, a := range applets {
		l = append(l, Entry{Name: "bin/" + a, Link: "busybox"})
	}
	return l
}
