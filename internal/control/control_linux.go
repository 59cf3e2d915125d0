package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// short calls f with a short path for path: a socket's is of 107 bytes at most.
func short(path string, f func(string) error) error {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

func listen(path string) (l *net.UnixListener, err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = short(path, func(name string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by that name it is there no more
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(path))
	}
	return l, nil
}

func dial(ctx context.Context, path string) (c *net.UnixConn, err error) {
	err = short(path, func(name string) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
		if err == nil {
			c = conn.(*net.UnixConn)
		}
		return err
	})
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, errors.Join(ErrNobody, err)
	}
	return nil, err
}

// mayCall tells whether the caller is a process of this one's user, or root's.
func mayCall(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var who *unix.Ucred
	e := raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return e == nil && err == nil && (who.Uid == 0 || int(who.Uid) == os.Geteuid())
}

// send sends a document with files, and the end of it.
func send(c *net.UnixConn, b []byte, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) {
		_, err = c.Write(b[n:])
	}
	if err == nil {
		err = c.CloseWrite()
	}
	return err
}

// receive reads a document to its end, and the files that come with it, which are the caller's with an error too.
func receive(c *net.UnixConn) (document []byte, files []*os.File, err error) {
	b, oob := make([]byte, 32<<10), make([]byte, syscall.CmsgSpace(4*maxFiles))
	for {
		n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
		if oobn > 0 {
			more, e := filesOf(oob[:oobn])
			files = append(files, more...)
			err = errors.Join(err, e)
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return document, files, nil
		}
		if err != nil {
			return nil, files, err
		}
		document = append(document, b[:n]...)
		if flags&unix.MSG_CTRUNC != 0 || len(files) > maxFiles || len(document) > maxMessage {
			return nil, files, errors.New("too much")
		}
	}
}

func filesOf(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}
