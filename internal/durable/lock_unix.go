//go:build unix

package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// A Lock is an advisory lock (flock) on a file. It ends with Close or Remove, or with the process.
type Lock struct{ f *os.File }

// Acquire locks the file at path, which it makes if need be, exclusively or shared, and waits for it until ctx ends.
// Who waits gets it before those who ask later. The file that is locked is the one at path, even when holders remove it.
func Acquire(ctx context.Context, path string, exclusive bool) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		l, err := lock(ctx, f, flockHow(exclusive))
		if err != nil {
			return nil, err
		}
		if l.current() {
			return l, nil
		}
		_ = l.Close() // the holder that we waited for removed it
	}
}

func lock(ctx context.Context, f *os.File, how int) (*Lock, error) {
	path := f.Name()
	mine := false
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if !mine {
			if mine = takeTurn(f); mine {
				wait = time.Millisecond
			}
		}
		if mine {
			err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
			if err == nil {
				passTurn(f)
				return &Lock{f}, nil
			}
			if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
				_ = f.Close()
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			wait = min(wait, 5*time.Millisecond) // nobody else asks as often
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: held by another: %w", path, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// current says whether the locked file is still the one at its path.
func (l *Lock) current() bool {
	mine, err := l.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(l.f.Name())
	return err == nil && os.SameFile(mine, there)
}

// TryAcquire is Acquire without waiting; held says that somebody else has the lock.
func TryAcquire(path string, exclusive bool) (l *Lock, held bool, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, false, fmt.Errorf("lock: %w", err)
		}
		switch err := syscall.Flock(int(f.Fd()), flockHow(exclusive)|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, true, f.Close()
		case errors.Is(err, syscall.EINTR):
			_ = f.Close()
			continue
		case err != nil:
			return nil, false, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if l := (&Lock{f}); l.current() {
			return l, false, nil
		}
		_ = f.Close() // its holder removed it
	}
}

func flockHow(exclusive bool) int {
	if exclusive {
		return syscall.LOCK_EX
	}
	return syscall.LOCK_SH
}

// TryAcquireDir locks the folder at path itself, exclusively; held says that somebody else has the lock. The lock goes
// along when the folder is renamed, and lasts while the folder is being deleted.
func TryAcquireDir(path string) (l *Lock, held bool, err error) {
	fd := -1
	for fd < 0 { // without the runtime's poller, which has no use for a folder
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return nil, false, fmt.Errorf("lock: %w", &os.PathError{Op: "open", Path: path, Err: err})
		}
	}
	f := os.NewFile(uintptr(fd), path)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return &Lock{f}, false, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, true, f.Close()
		}
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
}

// Release gives the lock back and keeps the file open, so that TryAgain locks the same one.
func (l *Lock) Release() error { return l.flock(syscall.LOCK_UN) }

// TryAgain takes the lock after Release, exclusively; held says that somebody else has it.
func (l *Lock) TryAgain() (held bool, err error) {
	err = l.flock(syscall.LOCK_EX | syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

func (l *Lock) flock(how int) error {
	for {
		err := syscall.Flock(int(l.f.Fd()), how)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", l.f.Name(), err)
		}
		return nil
	}
}

// Close gives the lock back.
func (l *Lock) Close() error { return l.f.Close() }

// File is the locked file. The lock lasts until its last duplicate is closed, in other processes too.
func (l *Lock) File() *os.File { return l.f }

// Remove removes the file and gives the lock back. The lock must be exclusive.
func (l *Lock) Remove() error { return errors.Join(os.Remove(l.f.Name()), l.f.Close()) }

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
