package namespace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// open returns a new descriptor of the root folder, opened with O_PATH. The caller closes it.
func (r *Root) open() (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrRootUsed
	}
	var fd int
	var err error
	if r.mount == nil {
		fd, err = openat(unix.AT_FDCWD, r.path, unix.O_PATH|unix.O_DIRECTORY)
	} else {
		fd, err = duplicate(r.mount)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", r.path, err)
	}
	return os.NewFile(uintptr(fd), r.path), nil
}

// ReadFile returns the content of a regular file inside the root. The path is resolved as the container would see
// it: symbolic links, absolute ones too, do not lead out, those of /proc lead nowhere. What is not a regular file is
// not opened. limit bounds the size in bytes; 0 means 1 MiB. A file that is not there is fs.ErrNotExist. Linux 5.6.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	b, err := r.readFile(name, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", name, r.path, err)
	}
	return b, nil
}

const defaultReadLimit = 1 << 20

func (r *Root) readFile(name string, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = defaultReadLimit
	}
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readIn(root, name, limit)
}

// userFile returns the file's content, or nothing if it is not there. The root is.
func (r *Root) userFile(name string) ([]byte, error) {
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := readIn(root, name, maxUserFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", name, r.path, err)
	}
	return b, nil
}

func readIn(root *os.File, name string, limit int64) ([]byte, error) {
	// The file is looked at before it is opened: to open a device can have effects on the host.
	place, err := openInRoot(int(root.Fd()), name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(place)
	var st unix.Stat_t
	if err := unix.Fstat(place, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNotRegular
	}
	if st.Size > limit {
		return nil, &tooLargeError{limit}
	}
	fd, err := openat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(place), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &tooLargeError{limit}
	}
	return b, nil
}

// OpenFolder opens a folder inside the root for reading; its path is resolved as ReadFile does. What is not a folder is
// an error. The caller closes it. Linux 5.6.
func (r *Root) OpenFolder(name string) (*os.File, error) {
	root, err := r.open()
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", name, r.path, err)
	}
	defer root.Close()
	fd, err := openInRoot(int(root.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.EACCES) && !privileged() {
		return openByDeputy(root, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", name, r.path, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

var errNotRegular = errors.New("not a regular file")

type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string { return fmt.Sprintf("larger than %d bytes", e.limit) }

// MkdirAll makes a folder inside the root, and those above it that are missing, with the permissions perm whatever the
// umask is. A folder that is there is left as it is. Symbolic links are followed inside the root, and if what they
// name is missing it is made: so a mount's target is made where the container would look for it.
func (r *Root) MkdirAll(name string, perm os.FileMode) error {
	w, err := r.walk(name, perm)
	if err == nil {
		err = w.mkdirAll(name)
		w.close()
	}
	if err != nil {
		return fmt.Errorf("make folder %s in %s: %w", name, r.path, err)
	}
	return nil
}

// Touch makes an empty file inside the root, with the permissions 0644, and the folders above it with 0755, as
// MkdirAll does. What is there already is left as it is, unless it is a folder, which is an error.
func (r *Root) Touch(name string) error {
	w, err := r.walk(name, 0o755)
	if err == nil {
		err = w.touch(name)
		w.close()
	}
	if err != nil {
		return fmt.Errorf("make file %s in %s: %w", name, r.path, err)
	}
	return nil
}

func (r *Root) walk(name string, perm os.FileMode) (*walk, error) {
	if strings.ContainsRune(name, 0) {
		return nil, unix.EINVAL
	}
	root, err := r.open()
	if err != nil {
		return nil, err
	}
	return &walk{folders: []*os.File{root}, perm: uint32(perm.Perm())}, nil
}

// A walk goes down from the root one name at a time. The kernel never follows a link for it: links are read and their
// text is walked, and ".." goes back to the folder that was come from. So no race can lead it out.
type walk struct {
	folders []*os.File // from the root to where the walk is
	perm    uint32     // of folders that are made
	links   int
}

func (w *walk) top() int { return int(w.folders[len(w.folders)-1].Fd()) }

func (w *walk) close() {
	for _, f := range w.folders {
		_ = f.Close()
	}
}

// mkdirAll walks the path and makes folders where there are none.
func (w *walk) mkdirAll(name string) error {
	left := strings.Split(name, "/")
	for tries := 0; len(left) > 0; {
		var err error
		before := len(left)
		if left, err = w.step(left); err == nil {
			if len(left) < before {
				tries = 0
			}
			continue
		}
		if tries++; !errors.Is(err, unix.ENOENT) || tries > maxLinks {
			return err
		}
		if err := w.mkdir(left[0]); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// touch walks to the file's folder, and makes the file.
func (w *walk) touch(name string) error {
	dir, base := path.Split(name)
	for range maxLinks {
		if base == "" || base == "." || base == ".." {
			return unix.EISDIR
		}
		if err := w.mkdirAll(dir); err != nil {
			return err
		}
		fd, err := openat(w.top(), base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
		if err == nil {
			return errors.Join(unix.Fchmod(fd, 0o644), unix.Close(fd))
		}
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		fd, kind, err := look(w.top(), base)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		target, err := readlink(fd, kind)
		_ = unix.Close(fd)
		switch {
		case err != nil:
			return err
		case kind == unix.S_IFDIR:
			return unix.EISDIR
		case kind != unix.S_IFLNK:
			return nil
		}
		if w.links++; w.links > maxLinks {
			return unix.ELOOP
		}
		if path.IsAbs(target) {
			w.toRoot()
		}
		dir, base = path.Split(target)
	}
	return unix.ELOOP
}

// step takes the first name off the path: into a folder, out of one, or a link's text is put in its place.
func (w *walk) step(left []string) ([]string, error) {
	name := left[0]
	switch name {
	case "", ".":
		return left[1:], nil
	case "..":
		if last := len(w.folders) - 1; last > 0 {
			_ = w.folders[last].Close()
			w.folders = w.folders[:last]
		}
		return left[1:], nil
	}
	fd, kind, err := look(w.top(), name)
	if err != nil {
		return left, err
	}
	switch kind {
	case unix.S_IFDIR:
		w.folders = append(w.folders, os.NewFile(uintptr(fd), name))
		return left[1:], nil
	case unix.S_IFLNK:
		target, err := readlink(fd, kind)
		_ = unix.Close(fd)
		if err != nil {
			return left, err
		}
		if w.links++; w.links > maxLinks {
			return left, unix.ELOOP
		}
		if path.IsAbs(target) {
			w.toRoot()
		}
		return append(strings.Split(target, "/"), left[1:]...), nil
	}
	_ = unix.Close(fd)
	return left, unix.ENOTDIR
}

func (w *walk) toRoot() {
	for _, f := range w.folders[1:] {
		_ = f.Close()
	}
	w.folders = w.folders[:1]
}

// mkdir makes a folder where the walk is.
func (w *walk) mkdir(name string) error {
	err := unix.Mkdirat(w.top(), name, 0o700&w.perm)
	if errors.Is(err, unix.EACCES) && !privileged() {
		return mkdirByDeputy(w.folders[len(w.folders)-1], name, w.perm)
	}
	if err != nil {
		return err
	}
	fd, err := openat(w.top(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fchmod(fd, w.perm), unix.Close(fd))
}

// look opens one name, itself and not what it may link to, and returns its type.
func look(dir int, name string) (fd int, kind uint32, err error) {
	if fd, err = openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW); err != nil {
		return -1, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, 0, err
	}
	return fd, st.Mode & unix.S_IFMT, nil
}

// readlink returns the text of the link that fd is, "" for another kind of file.
func readlink(fd int, kind uint32) (string, error) {
	if kind != unix.S_IFLNK {
		return "", nil
	}
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", b)
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(b) {
		return "", unix.ENAMETOOLONG
	}
	return string(b[:n]), nil
}

func openat(dir int, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// openInRoot opens a path with root as its "/" and "..". EAGAIN says that something was renamed meanwhile.
func openInRoot(root int, name string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range 128 {
		fd, err = unix.Openat2(root, name, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fd, err
}
