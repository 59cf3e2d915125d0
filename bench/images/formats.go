//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/caisson-engine/caisson/internal/bench"
	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
)

// A formatStore is a store that keeps layers in one of the two formats.
type formatStore struct {
	name  string
	store *layer.Store
	blob  string
}

// formats compares the two ways to hold a layer: a folder, and an EROFS image in a file. It prints a table for each step.
func (s *setting) formats(n int, size int64) (err error) {
	blobs := filepath.Join(s.dir, "format-blobs")
	if err := os.Mkdir(blobs, 0o755); err != nil {
		return err
	}
	folder, err := testimage.Big{Bytes: size, Entries: int(size / 16000), Layers: 1}.Write(blobs)
	if err != nil {
		return err
	}
	var stores []*formatStore
	for _, format := range []layer.Format{layer.Folder, layer.EROFS} {
		store, err := layer.Open(filepath.Join(s.dir, "format-"+format.String()))
		if err == nil {
			err = store.Use(format)
		}
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Fprintf(os.Stderr, "images: without %s: %v\n", format, err)
			continue
		}
		if err != nil {
			return err
		}
		stores = append(stores, &formatStore{format.String(), store, filepath.Join(blobs, folder.Layers[0].Digest.Encoded())})
	}
	cases := func(verb string, of func(*formatStore) bench.Case) error {
		var list []*bench.Case
		for _, f := range stores {
			c := of(f)
			c.Name = fmt.Sprintf("%s: %s", verb, f.name)
			list = append(list, &c)
		}
		return measure(n, func() ([]*bench.Case, func() error, error) { return list, nil, nil })
	}
	return errors.Join(
		cases(fmt.Sprintf("extract %d MB, %d files", size/1e6, size/16000), func(f *formatStore) bench.Case {
			return bench.Case{Run: f.extract, Clean: f.remove}
		}),
		cases("delete it", func(f *formatStore) bench.Case { return bench.Case{Prepare: f.extract, Run: f.remove} }),
		cases(fmt.Sprintf("mount of %d layers, and its end", manyLayers), func(f *formatStore) bench.Case {
			return bench.Case{Run: f.mountMany}
		}),
		cases("read all", func(f *formatStore) bench.Case { return bench.Case{Prepare: f.extract, Run: f.read, Clean: f.remove} }),
		func() error {
			for _, f := range stores {
				if err := f.sizes(); err != nil {
					return err
				}
			}
			return nil
		}(),
	)
}

func (f *formatStore) extract() error {
	blob, err := os.Open(f.blob)
	if err != nil {
		return err
	}
	defer blob.Close()
	_, err = f.store.Add(context.Background(), blob, nil)
	return err
}

// big returns the layer with the many files.
func (f *formatStore) big() (layer.Layer, error) {
	list, err := f.store.List()
	for _, l := range list {
		if l.Names > 10 {
			return l, nil
		}
	}
	return layer.Layer{}, errors.Join(err, layer.ErrNotFound)
}

func (f *formatStore) remove() error {
	l, err := f.big()
	if err != nil {
		return err
	}
	return f.store.Remove(context.Background(), l.DiffID)
}

func (f *formatStore) mountMany() error {
	ctx := context.Background()
	list, err := f.store.List()
	if err != nil {
		return err
	}
	for i := len(list); i < manyLayers; i++ { // the first time
		var b bytes.Buffer
		if err := writeTar(&b, 1, fmt.Sprint(i)); err != nil {
			return err
		}
		l, err := f.store.Add(ctx, &b, nil)
		if err != nil {
			return err
		}
		list = append(list, l)
	}
	root, err := layer.Mount(ctx, list, nil)
	if err != nil {
		return err
	}
	return root.Close()
}

// mounted calls look with the folder of a new mount of the large layer.
func (f *formatStore) mounted(look func(dir string) error) error {
	l, err := f.big()
	if err != nil {
		return err
	}
	root, err := layer.Mount(context.Background(), []layer.Layer{l}, &layer.MountOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(inRoot(root, look), root.Close())
}

func inRoot(root *namespace.Root, look func(dir string) error) error {
	top, err := root.OpenFolder("/")
	if err != nil {
		return err
	}
	defer top.Close()
	return look(fmt.Sprintf("/proc/self/fd/%d/.", top.Fd()))
}

func (f *formatStore) read() error { return f.mounted(readAll) }

func readAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
}

// sizes prints what the layer takes, and how much of what one mount has read is in memory for another.
func (f *formatStore) sizes() error {
	if err := f.extract(); err != nil {
		return err
	}
	l, err := f.big()
	if err != nil {
		return err
	}
	var there, all int
	err = f.mounted(func(first string) error {
		if err := readAll(first); err != nil {
			return err
		}
		return f.mounted(func(second string) error {
			return filepath.WalkDir(second, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return err
				}
				n, of, err := resident(path)
				there, all = there+n, all+of
				return err
			})
		})
	})
	fmt.Printf("\n%s: %.1f MB on disk; of what one mount has read, %.0f %% is in memory for a second\n",
		strings.ToUpper(f.name[:1])+f.name[1:], float64(l.Usage)/1e6, 100*float64(there)/float64(max(1, all)))
	return errors.Join(err, f.remove())
}

// resident returns how many of a file's pages are in memory, and how many there are.
func resident(path string) (n, of int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil || st.Size() == 0 {
		return 0, 0, err
	}
	m, err := syscall.Mmap(int(file.Fd()), 0, int(st.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, syscall.Munmap(m)) }()
	pages := make([]byte, (len(m)+os.Getpagesize()-1)/os.Getpagesize())
	if err := mincore(m, pages); err != nil {
		return 0, 0, err
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n, len(pages), nil
}

func mincore(m, pages []byte) error {
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
