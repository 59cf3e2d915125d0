package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Folders is a folder of folders, each with a document that has its name.
type Folders struct {
	// Dir is the folder, Document the document's name in each of them, of Max bytes at most.
	Dir, Document string
	Max           int
	// Kind is what one is called in errors.
	Kind string
	// Check tells whether a name can be one's: what has another is none.
	Check func(name string) error
	// NotFound and Exists are the errors of Read and of Publish.
	NotFound, Exists error
}

// Path joins names to the folder's.
func (f *Folders) Path(names ...string) string {
	return filepath.Join(append([]string{f.Dir}, names...)...)
}

// Names returns the names of all, sorted.
func (f *Folders) Names() ([]string, error) {
	entries, err := os.ReadDir(f.Dir) // sorted
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if f.Check(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Read reads a document into v, and has says whose it is then.
func (f *Folders) Read(name string, v any, has *string) error {
	err := ReadJSON(f.Path(name, f.Document), f.Max, v)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(f.Path(name)); errors.Is(err, fs.ErrNotExist) {
			return f.NotFound
		}
	}
	if err == nil && *has != name {
		return fmt.Errorf("%s is that of %q", f.Document, *has)
	}
	return err
}

// Publish gives a folder that is ready the name, durably.
func (f *Folders) Publish(ready, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, ready, unix.AT_FDCWD, f.Path(name), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return f.Exists
	}
	if err != nil {
		return err
	}
	return SyncDir(f.Dir)
}

// ReadAll returns what read returns for all names. Those that cannot be read are left out and named by the error.
func ReadAll[T any](f *Folders, read func(name string) (T, error)) ([]T, error) {
	names, err := f.Names()
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", f.Kind, err)
	}
	var all []T
	var errs []error
	for _, name := range names {
		v, err := read(name)
		switch {
		case err == nil:
			all = append(all, v)
		case !errors.Is(err, f.NotFound): // removed meanwhile
			errs = append(errs, fmt.Errorf("%s %s: %w", f.Kind, name, err))
		}
	}
	return all, errors.Join(errs...)
}
