package namespace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ContinueLog prepares a keeper's folder for the next process, whose output goes to the same log: it removes everything but that, and of
// the log what a keeper that was killed, or a machine that went off, left half written. The folder's last process must have ended.
func ContinueLog(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	_, whole := os.Lstat(filepath.Join(dir, keepExit))
	for _, entry := range entries {
		if name := entry.Name(); name != keepLog && name != keepOldLog {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	if whole == nil {
		return nil
	}
	err = trimLog(filepath.Join(dir, keepLog))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// trimLog cuts a log after its last whole frame.
func trimLog(path string) (err error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { err = errors.Join(err, f.Close()) }()
	r, end := bufio.NewReaderSize(f, frameData), int64(0)
	for head := make([]byte, frameHeader); ; {
		_, err := io.ReadFull(r, head)
		stream, n := binary.NativeEndian.Uint64(head), binary.NativeEndian.Uint64(head[8:])
		if err == nil && (stream < uint64(Stdout) || stream > uint64(Stderr) || n > frameData) {
			break
		}
		if err == nil {
			_, err = r.Discard(int(n))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil { // a disk's, of which nothing is to be cut off
			return err
		}
		end += frameHeader + int64(n)
	}
	return f.Truncate(end)
}
