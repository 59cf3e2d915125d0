//go:build !linux

package hook

import (
	"context"
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// A Runner runs a container's hooks: on Linux only.
type Runner struct {
	Hooks      *specs.Hooks
	Dir        string
	Process    *namespace.Process
	Namespaces namespace.Namespaces
	Mapped     bool
	Group      *cgroups.Group
	Contained  func() (*namespace.Launch, error)
}

// Run returns an error that satisfies errors.ErrUnsupported if there is a hook of the kind.
func (r *Runner) Run(_ context.Context, kind string, _ *specs.State) error {
	for i, h := range Of(r.Hooks, kind) {
		return &Error{Kind: kind, Index: i, Path: h.Path, Err: errors.ErrUnsupported}
	}
	return nil
}

// RunAll returns that error.
func (r *Runner) RunAll(kind string, state *specs.State) []error {
	if err := r.Run(context.Background(), kind, state); err != nil {
		return []error{err}
	}
	return nil
}
