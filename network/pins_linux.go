package network

import (
	"golang.org/x/sys/unix"

	"github.com/caisson-engine/caisson/internal/bpf"
)

// pin has the kernel execute the endpoint's program for what comes from its port, if it does such a thing: once it has refused one no other is tried.
// Frames of a leaf are not tracked, which is for the chains to say.
func (h *host) pin(index int, e *Endpoint) {
	if h.slowly || e.Leaf != 0 {
		return
	}
	err := func() error {
		fd, err := bpf.Load(&bpf.Program{Type: bpf.TypeTraffic, Name: "caisson_pins", Code: pinProgram(e)})
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return inside(h.ns, func() error { return bpf.AttachDevice(fd, index, bpf.AttachIngress) })
	}()
	h.slowly = err != nil
}
