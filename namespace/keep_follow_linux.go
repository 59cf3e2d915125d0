package namespace

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Follow is Next, but waits for the next frame: until ctx ends, or with io.EOF when the keeper has ended.
func (r *LogReader) Follow(ctx context.Context) (*Frame, error) {
	if f, err := r.Next(); err != io.EOF {
		return f, err
	}
	for nap := time.Millisecond; ; {
		watched := r.follow()
		ended := r.ended() // before the reading: what comes after that is nothing
		f, err := r.Next()
		if err != io.EOF || ended {
			return f, err
		}
		changed, err := r.await(ctx, watched, nap)
		if err != nil {
			return nil, err
		}
		if nap *= 2; changed {
			// That the keeper's lock is closed is said a moment before it is free.
			nap = time.Millisecond
		}
		if most := 50 * time.Millisecond; !watched {
			nap = min(nap, most)
		}
		nap = min(nap, time.Second)
	}
}

// followed are the changes of a keeper's folder: frames, another log, the end of the keeper, and another folder in its place.
const followed = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_ONLYDIR

// follow has the kernel tell of changes from here on. The folder may be another one than the last time, see ContinueLog. It is false where no more
// can be told (fs.inotify.max_user_instances).
func (r *LogReader) follow() bool {
	if r.changes == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return false
		}
		r.changes = os.NewFile(uintptr(fd), "inotify")
	}
	return withDescriptor(r.changes, func(fd int) error {
		_, err := unix.InotifyAddWatch(fd, r.dir, followed)
		return err
	}) == nil
}

// await waits for a change if those are told, at most for a time.
func (r *LogReader) await(ctx context.Context, watched bool, most time.Duration) (changed bool, err error) {
	if !watched {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(most):
			return false, nil
		}
	}
	if err := r.changes.SetReadDeadline(time.Now().Add(most)); err != nil {
		return false, err
	}
	defer endWith(ctx, r.changes)()
	var b [4096]byte
	_, err = r.changes.Read(b[:])
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, nil
	}
	return err == nil, err
}

// ended says whether there is no keeper that could write to the log.
func (r *LogReader) ended() bool {
	f, err := os.Open(filepath.Join(r.dir, keepLock))
	if err != nil {
		return true
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}
