package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// AddUser adds an entry for a user to the root's /etc/passwd, and one for the group of its GID, with the same name, to /etc/group, by
// one write each. A file that is there already with that id or name, that is not there, or to whose place a link leads, is left as it
// is: what is written to is a regular file of the root's, whatever the image says. Of an ordinary user's program the files
// may be those of its subordinate ids. Linux ≥ 5.6.
func (r *Root) AddUser(u *User) error {
	if u.Name == "" || strings.ContainsAny(u.Name+u.Home, ":\n\x00") || strings.IndexByte("#+-", u.Name[0]) >= 0 {
		return fmt.Errorf("add user %q with the home folder %q: neither may have a colon or a line break", u.Name, u.Home)
	}
	home := u.Home
	if home == "" {
		home = "/"
	}
	for _, x := range []struct {
		file, line string
		there      func([]byte) bool
	}{
		{"/etc/passwd", fmt.Sprintf("%s:*:%d:%d:%s:%s:/bin/sh\n", u.Name, u.UID, u.GID, u.Name, home), func(b []byte) bool {
			for e := range passwdEntries(b) {
				if e.uid == u.UID || e.name == u.Name {
					return true
				}
			}
			return false
		}},
		{"/etc/group", fmt.Sprintf("%s:x:%d:\n", u.Name, u.GID), func(b []byte) bool {
			for e := range groupEntries(b) {
				if e.gid == u.GID || e.name == u.Name {
					return true
				}
			}
			return false
		}},
	} {
		b, err := r.ReadFile(x.file, maxUserFile)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) || err == nil && x.there(b) {
			continue
		}
		if err == nil {
			if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
				x.line = "\n" + x.line
			}
			err = r.appendTo(x.file, x.line)
		}
		if err != nil {
			return fmt.Errorf("add user %s to %s in %s: %w", u.Name, x.file, r.path, err)
		}
	}
	return nil
}

// appendTo appends to a regular file to which no link leads.
func (r *Root) appendTo(name, text string) error {
	root, err := r.open()
	if err != nil {
		return err
	}
	defer root.Close()
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd, err := unix.Openat2(int(root.Fd()), name, &how)
	if errors.Is(err, unix.EACCES) && !privileged() {
		var d *Deputy
		if d, err = NewDeputy(context.Background(), nil, nil); err != nil {
			return err
		}
		defer d.Close()
		var b []byte
		for _, v := range []uint64{how.Flags, how.Mode, how.Resolve} {
			b = binary.NativeEndian.AppendUint64(b, v)
		}
		_, fd, err = d.call(unix.SYS_OPENAT2, true, []any{root, name, b, len(b)})
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	return err
}
