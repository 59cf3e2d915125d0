package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// bring puts a command of this machine, whose release of Debian is that of the disk, and the libraries that it is linked with
// where they are here. What the disk has already stays.
func bring(ctx context.Context, name, disk string) (err error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	out, err := command(ctx, "", "ldd", path)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(disk) // its links that begin with "/" are not to be followed here
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, file := range append(libraries(out), path) {
		if err := bringFile(root, file); err != nil {
			return err
		}
	}
	return nil
}

func bringFile(root *os.Root, file string) error {
	name := strings.TrimPrefix(file, "/")
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// libraries are the paths in what ldd prints: "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0000000000)".
func libraries(ldd string) []string {
	var all []string
	for _, word := range strings.Fields(ldd) {
		if strings.HasPrefix(word, "/") && strings.Contains(word, ".so") {
			all = append(all, word)
		}
	}
	return all
}
