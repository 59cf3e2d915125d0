package engine

import (
	"errors"
	"io/fs"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// hooks says what the hooks of a container's devices are told. Those of a container with a user namespace of its own must be able to walk
// to their bundle: it is in the folder for temporary files.
func (r *Run) hooks() {
	if r.c.Hooks == nil {
		return
	}
	r.c.HookState = &specs.State{ID: r.record.ID}
	if len(r.c.UIDMappings) == 0 && r.c.UserNamespace == "" {
		r.c.HookState.Bundle = r.e.bundlePath(r.record.ID)
	}
}

func (e *Engine) bundlePath(id string) string { return e.path(id, "bundle") }

// discardBundle removes the bundle of hooks that a program which was killed has left. The root was never mounted there but in the container's
// mount namespace.
func (e *Engine) discardBundle(id string) error {
	dir := e.bundlePath(id)
	for _, name := range []string{dir + "/config.json", dir + "/rootfs", dir} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
