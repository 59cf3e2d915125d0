package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// FileSystem makes a file system of its own, ext4 as mkfs makes it, in a file beside the folder at which it mounts it: one
// that has seen much deletion is slow for minutes. remove takes it away, with what a program may have left mounted below.
func FileSystem(at string, size int64) (remove func() error, err error) {
	file := at + ".img"
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(at, 0o755)); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	err = Command(exec.Command("mkfs.ext4", "-q", "-F", "-i", "8192", "-E", "lazy_itable_init=0,lazy_journal_init=0", file))
	if err == nil {
		err = Command(exec.Command("mount", "-o", "loop", file, at))
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(file), os.Remove(at))
	}
	if err := os.Remove(file); err != nil { // the mount keeps it
		return nil, errors.Join(err, unmount(at), os.Remove(at))
	}
	return func() error { return errors.Join(unmount(at), os.Remove(at)) }, nil
}

func unmount(at string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	if at, err = filepath.EvalSymlinks(at); err != nil {
		return err
	}
	var below []string
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && bytes.HasPrefix(f[1], []byte(at+"/")) {
			below = append(below, string(f[1]))
		}
	}
	for _, m := range slices.Backward(below) {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	for range 50 {
		if err = syscall.Unmount(at, 0); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", at, err)
}
