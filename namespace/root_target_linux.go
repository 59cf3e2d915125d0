package namespace

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// MakeTarget makes the file or the folder that a mount at name needs, where name leads over a symbolic link to something
// that is missing: /etc/resolv.conf in an image that links it into a /run which is empty. A start makes a target that is
// missing without a link by itself, and that is left to it; so is a target that is there.
func (r *Root) MakeTarget(name string, file bool) error {
	w, err := r.walk(name, 0o755)
	if err != nil {
		return fmt.Errorf("make target %s in %s: %w", name, r.path, err)
	}
	missing, err := w.missing(name)
	dangling := missing && w.links > 0
	w.close()
	switch {
	case err != nil:
		return fmt.Errorf("make target %s in %s: %w", name, r.path, err)
	case !dangling:
		return nil
	case file:
		return r.Touch(name)
	}
	return r.MkdirAll(name, 0o755)
}

// missing walks the path and says whether something of it is not there.
func (w *walk) missing(name string) (bool, error) {
	left := strings.Split(name, "/")
	for len(left) > 0 {
		var err error
		left, err = w.step(left)
		switch {
		case errors.Is(err, unix.ENOENT):
			return true, nil
		case errors.Is(err, unix.ENOTDIR): // a file, at the end or in the way
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return false, nil
}
