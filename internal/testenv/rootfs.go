package testenv

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// NewRootfs makes a folder that can be a container's root file system and removes it when the test ends. For each of
// the programs /bin/<program> is the test binary, linked statically; it must call [Main] with a program of that name.
// There are /etc/passwd and /etc/group with root, and app (1000:1000, also in the groups 2000 "staff" and 3000
// "audio", home /home/app); /root, /home/app, /tmp, and empty folders to mount on. Every user can reach the folder by
// its path.
func NewRootfs(t testing.TB, programs ...string) string {
	t.Helper()
	root, err := os.MkdirTemp("", "rootfs-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	must(t, os.Chmod(root, 0o755))
	for _, dir := range []string{"bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky))
	must(t, os.Chmod(filepath.Join(root, "root"), 0o700))
	if os.Geteuid() == 0 {
		must(t, os.Chown(filepath.Join(root, "home/app"), 1000, 1000))
	}
	for name, content := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1000:\nstaff:x:2000:app\naudio:x:3000:root,app\n",
	} {
		must(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
	}
	if len(programs) > 0 {
		installSelf(t, root, programs)
	}
	return root
}

// installSelf puts the test binary into root under each name.
func installSelf(t testing.TB, root string, programs []string) {
	t.Helper()
	self, err := staticSelf()
	must(t, err)
	for _, name := range programs {
		must(t, linkOrCopy(self, filepath.Join(root, "bin", name)))
	}
}

func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	return copyFile(from, to)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
