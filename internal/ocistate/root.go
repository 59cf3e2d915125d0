package ocistate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// The errors have the words by which callers of runc tell them apart.
var (
	// ErrInvalidID is returned for an id that cannot be a container's.
	ErrInvalidID error = &sentinel{"invalid container ID format", fs.ErrInvalid}
	// ErrExist is returned by Claim when there is a container of that id.
	ErrExist error = &sentinel{"container with given ID already exists", fs.ErrExist}
	// ErrNotExist is returned when there is none.
	ErrNotExist error = &sentinel{"container does not exist", fs.ErrNotExist}
	// ErrNotRunning is returned when the container has stopped.
	ErrNotRunning error = &sentinel{"container not running", os.ErrProcessDone}
	// ErrNotPaused is returned by a resume of what is not paused.
	ErrNotPaused = errors.New("container not paused")
)

type sentinel struct {
	text string
	kind error
}

func (s *sentinel) Error() string        { return s.text }
func (s *sentinel) Is(target error) bool { return target == s.kind }

// maxID is how long an id may be: a file's name.
const maxID = 255

// CheckID returns ErrInvalidID unless id is made of letters, digits, "_", "+", "-" and ".", and can be a file's name.
func CheckID(id string) error {
	if id == "" || id == "." || id == ".." || len(id) > maxID {
		return ErrInvalidID
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_+-.", c) >= 0:
		default:
			return ErrInvalidID
		}
	}
	return nil
}

// A Root is the folder that the containers' folders are in.
type Root string

// Claim makes the folder of a new container and locks it; the root is made too if need be. The error is ErrExist if
// the id is in use, or ErrInvalidID. The caller ends with Close or Remove.
func (r Root) Claim(id string) (*Folder, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	f := &Folder{ID: id, path: filepath.Join(string(r), id)}
	for {
		err := os.Mkdir(f.path, 0o711) // readable by others below it: hooks and tools of the container's user
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(string(r), 0o700); err != nil {
				return nil, err
			}
			continue
		}
		if errors.Is(err, fs.ErrExist) {
			return nil, ErrExist
		}
		if err != nil {
			return nil, err
		}
		// Between the two, someone who deletes what he takes for half made may have been here.
		var held bool
		f.lock, held, err = durable.TryAcquireDir(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist), held:
			continue
		case err != nil:
			return nil, errors.Join(err, os.Remove(f.path))
		case f.current():
			return f, nil
		}
		_ = f.lock.Close()
	}
}

// lockNap is how long to wait before a lock is asked for again.
const lockNap = 5 * time.Millisecond

// Lock locks the folder of a container, whole or half made, and waits for it as long as patience lasts: then the error is
// context.DeadlineExceeded. It is ErrNotExist if there is no folder.
func (r Root) Lock(id string, patience time.Duration) (*Folder, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	f := &Folder{ID: id, path: filepath.Join(string(r), id)}
	for {
		lock, held, err := durable.TryAcquireDir(f.path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil, ErrNotExist
		}
		if err != nil {
			return nil, err
		}
		if !held {
			f.lock = lock
			if f.current() {
				return f, nil
			}
			_ = lock.Close()
			continue
		}
		if err := wait(id, &patience); err != nil {
			return nil, err
		}
	}
}

// wait waits a while before a lock is asked for again, which patience loses. (A context's timer would cost each command that need
// not wait as much as the lock.)
func wait(id string, patience *time.Duration) error {
	if *patience <= 0 {
		return fmt.Errorf("container %s is being changed by another command: %w", id, context.DeadlineExceeded)
	}
	began := time.Now()
	time.Sleep(lockNap)
	*patience -= time.Since(began)
	return nil
}

// Load reads the state of a container, without a lock. The error is ErrNotExist if there is none, or if it is not made
// to the end.
func (r Root) Load(id string) (*State, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	return load(filepath.Join(string(r), id))
}

// Entry is one folder of a root.
type Entry struct {
	ID  string
	UID uint32 // of its owner
}

// List returns the folders of the root, in the order of the ids. The error satisfies fs.ErrNotExist if there is no root.
func (r Root) List() ([]Entry, error) {
	entries, err := os.ReadDir(string(r))
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, e := range entries {
		if !e.IsDir() || CheckID(e.Name()) != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Entry{ID: e.Name(), UID: owner(info)})
	}
	return all, nil
}
