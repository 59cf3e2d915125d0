//go:build linux

package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/caisson-engine/caisson/internal/inflate"
)

// straight does what a pull cannot do without, in one thread and as simply as possible, with the layers that are in a
// folder, into the working directory: each blob is read once, written, digested, inflated, digested again and extracted.
// Names are taken as they are.
func straight(blobs string) error {
	entries, err := os.ReadDir(blobs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(blobs, e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var m ocispec.Manifest
		if json.Unmarshal(b, &m) == nil { // a manifest or a configuration
			continue
		}
		b = nil
		if err := straightLayer(path, e.Name()); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	syscall.Sync() // the other file systems were synced before
	return nil
}

func straightLayer(path, name string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(name + ".blob")
	if err != nil {
		return err
	}
	sum, diff := sha256.New(), sha256.New()
	buffer := bufio.NewReaderSize(in, 256<<10)
	head, err := buffer.Peek(2)
	if err != nil {
		return err
	}
	src := io.TeeReader(buffer, io.MultiWriter(out, sum))
	var z io.Reader
	if head[0] == 0x1f {
		z, err = inflate.NewReader(src)
	} else {
		z, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1))
	}
	if err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	if err := straightFiles(tar.NewReader(io.TeeReader(bufio.NewReaderSize(z, 256<<10), diff)), name); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, z); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != name {
		return errors.New("digest is " + got)
	}
	return out.Close()
}

func straightFiles(r *tar.Reader, dir string) error {
	buffer := make([]byte, 256<<10)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = errors.Join(os.Symlink(h.Linkname, path), os.Lchown(path, h.Uid, h.Gid))
		default:
			err = straightFile(r, h, path, buffer)
		}
		if err != nil {
			return err
		}
	}
}

func straightFile(r io.Reader, h *tar.Header, path string, buffer []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode())
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, buffer); err != nil {
		return err
	}
	if h.Uid != 0 {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, h.ModTime)
}
