//go:build !linux

package hook

import (
	"context"
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (r *Runner) one(_ context.Context, kind string, i int, _ *specs.State) error {
	return &Error{Kind: kind, Index: i, Path: Of(r.Hooks, kind)[i].Path, Err: errors.ErrUnsupported}
}
