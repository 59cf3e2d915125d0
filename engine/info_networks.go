package engine

import (
	"errors"
	"io/fs"
	"os"

	"github.com/caisson-engine/caisson/container"
)

// What gives an ordinary user networks, other than "none" and "host".
const (
	openTun = "have the administrator let users open it, as most systems do: chmod 0666 " + tunDevice
	haveTun = "modprobe tun; a container that the program is in takes --device " + tunDevice
)

// networksSupport looks whether containers can have networks, for an ordinary user's program.
func networksSupport() []container.Support {
	if !rootless() {
		return nil
	}
	s := container.Support{Feature: "networks of an ordinary user"}
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		s.Available = true
		_ = f.Close()
	case errors.Is(err, fs.ErrNotExist):
		s.Reason, s.Fix = err.Error(), haveTun
	default:
		s.Reason, s.Fix = err.Error(), openTun
	}
	return []container.Support{s}
}
