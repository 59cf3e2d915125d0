package layer

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/sys/unix"
)

// A found is a folder of a layer.
type found struct {
	st     unix.Stat_t
	xattrs map[string]string // but those of overlayfs
}

func (f *found) same(g *found) bool {
	return f.st.Mode == g.st.Mode && f.st.Uid == g.st.Uid && f.st.Gid == g.st.Gid && maps.Equal(f.xattrs, g.xattrs)
}

// find returns a folder as the topmost layer that has it shows it, and as the topmost one shows it that has an entry
// for it and is not hidden. Both are nil when the layers together have no folder there; they may be the same.
func (c *chainMaker) find(path string) (top, owner *found, err error) {
	for _, l := range c.layers {
		f, hides, err := l.find(path)
		if err != nil {
			return nil, nil, err
		}
		if f != nil {
			if top == nil {
				top = f
			}
			if _, ok := l.implied[path]; !ok {
				return top, f, nil
			}
		}
		if hides {
			break
		}
	}
	return top, nil, nil
}

// find returns a layer's folder, nil when it has none, and whether the layer hides that of the layers below.
func (l *chainLayer) find(path string) (_ *found, hides bool, err error) {
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = unix.Close(fd) }()
	for rest := path; rest != ""; {
		var component string
		component, rest, _ = strings.Cut(rest, "/")
		next, err := l.owners.open(fd, component, openDir)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil, hides, nil
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP): // a file, a link, a whiteout
			return nil, true, nil
		case err != nil:
			return nil, false, fmt.Errorf("open %q: %w", path, err)
		}
		_ = unix.Close(fd)
		fd = next
		var value [2]byte
		if n, err := unix.Fgetxattr(fd, opaqueName(), value[:]); err == nil && string(value[:n]) == "y" {
			hides = true
		}
	}
	f := &found{}
	if err := retry(func() error { return unix.Fstat(fd, &f.st) }); err != nil {
		return nil, false, err
	}
	f.xattrs, err = folderXattrs(fd)
	return f, hides, err
}

func folderXattrs(fd int) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(fd, list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	all := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if rest, ok := strings.CutPrefix(name, overlayClass()); ok && !strings.HasPrefix(rest, overlayEscape) {
			continue
		}
		if name == "security.selinux" {
			continue
		}
		n, err := unix.Fgetxattr(fd, name, value)
		if err != nil {
			return nil, fmt.Errorf("read attribute %s: %w", name, err)
		}
		all[name] = string(value[:n])
	}
	return all, nil
}
