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

// ContinueLog prepares a keeper's folder for the next process, whose output goes to the same log: it puts in its place another one, made
// beside it as dir.next, that has nothing but the log, so that who still waits for the last process takes the next one's files for nobody's
// but that one's. What a keeper that was killed, or a machine that went off, left half written is cut off. The folder's last process must
// have ended. The file system must have hard links and RENAME_EXCHANGE, as all of a disk have.
func ContinueLog(dir string) (err error) {
	_, whole := os.Lstat(filepath.Join(dir, keepExit))
	if whole != nil {
		if err := trimLog(filepath.Join(dir, keepLog)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	next := dir + ".next"
	if err := os.RemoveAll(next); err != nil { // of one who was killed in the midst of this
		return err
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(next)) }()
	for _, name := range []string{keepLog, keepOldLog} {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(next, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: next, New: dir, Err: err}
	}
	return nil
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
