package namespace

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// keeperImage is the stub that all keepers of this program execute: one memory file, sealed, whose pages are theirs
// together. It is made once and kept.
var keeperImage struct {
	sync.Mutex
	fd int // 0: not made yet
}

// openImage opens what a keeper executes; owned says that it is this one's alone.
func (k *keeper) openImage(dir string) (fd int, owned bool, err error) {
	keeperImage.Lock()
	defer keeperImage.Unlock()
	if keeperImage.fd > 0 && k.edit == nil {
		return keeperImage.fd, false, nil
	}
	p := newKeeperProgram()
	if k.edit != nil {
		k.edit(p)
	}
	image, err := stubImage(p)
	if err != nil {
		return -1, false, err
	}
	fd, err = writeStubMemory("keeper", image)
	switch {
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS):
		fd, err = writeStubFile(image, dir)
		return fd, true, err
	case err != nil:
		return -1, false, err
	case k.edit != nil:
		return fd, true, nil
	}
	keeperImage.fd = fd
	return fd, false, nil
}
