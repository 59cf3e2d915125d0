//go:build linux

package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// serveFloor is the floor: a process in the container that starts the command for each byte it reads, by vfork, and says when that
// has ended. It chooses nothing, prepares nothing and reports nothing.
func serveFloor() error {
	attr := &syscall.ProcAttr{Files: []uintptr{2, 2, 2}}
	var b [1]byte
	for {
		n, err := syscall.Read(0, b[:])
		if n == 0 || err != nil {
			return err
		}
		pid, _, err := syscall.StartProcess("/bin/true", []string{"/bin/true"}, attr)
		if err != nil {
			return err
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			return err
		}
		if _, err := syscall.Write(1, b[:]); err != nil {
			return err
		}
	}
}

// floor starts a container with that process, from a copy of this program in the root; run is for its turns. It is nil if this
// program is linked to libraries, which are not there: CGO_ENABLED=0 makes it static.
func floor(ctx context.Context, root string) (run, end func() error, err error) {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, nil, err
	}
	defer self.Close()
	if self.Section(".interp") != nil {
		return nil, func() error { return nil }, nil
	}
	if err := copySelf(filepath.Join(root, "bin/floor")); err != nil {
		return nil, nil, err
	}
	c := container.New(namespace.Dir(root), "/bin/floor", "floor")
	ask, err := c.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	told, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, nil, err
	}
	run = func() error {
		b := []byte{0}
		if _, err := ask.Write(b); err != nil {
			return err
		}
		_, err := io.ReadFull(told, b)
		return err
	}
	return run, func() error { return errors.Join(ask.Close(), c.Wait(ctx)) }, nil
}

func copySelf(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		_ = w.Close()
		return fmt.Errorf("copy this program: %w", err)
	}
	return w.Close()
}
