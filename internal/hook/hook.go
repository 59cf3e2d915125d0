// Package hook runs the hooks of the OCI runtime specification: programs that are executed at points of a container's life, each with the
// container's state on its standard input.
package hook

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// Kinds are the kinds of hooks, in the order in which they are run.
var Kinds = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// Of are the hooks of a kind. It may be asked of nil, which has none.
func Of(h *specs.Hooks, kind string) []specs.Hook {
	if list := Field(h, kind); list != nil {
		return *list
	}
	return nil
}

// Field is where h has the hooks of a kind; nil if there is no such kind.
func Field(h *specs.Hooks, kind string) *[]specs.Hook {
	if h == nil {
		return nil
	}
	switch kind {
	case "prestart":
		//lint:ignore SA1019 callers still use it
		return &h.Prestart
	case "createRuntime":
		return &h.CreateRuntime
	case "createContainer":
		return &h.CreateContainer
	case "startContainer":
		return &h.StartContainer
	case "poststart":
		return &h.Poststart
	case "poststop":
		return &h.Poststop
	}
	return nil
}

// Any says whether there is a hook of one of the kinds.
func Any(h *specs.Hooks, kinds ...string) bool {
	for _, kind := range kinds {
		if len(Of(h, kind)) > 0 {
			return true
		}
	}
	return false
}

// Check finds what no hook can be, and the field that is wrong: "createRuntime[0].path".
func Check(h *specs.Hooks) (field string, err error) {
	for _, kind := range Kinds {
		for i, x := range Of(h, kind) {
			field := fmt.Sprintf("%s[%d]", kind, i)
			switch {
			case !filepath.IsAbs(x.Path) || strings.IndexByte(x.Path, 0) >= 0:
				return field + ".path", fmt.Errorf("%q is not an absolute path", x.Path)
			case x.Timeout != nil && *x.Timeout <= 0:
				return field + ".timeout", fmt.Errorf("%d is not a number of seconds above 0", *x.Timeout)
			}
			for k, s := range append(x.Args[:len(x.Args):len(x.Args)], x.Env...) {
				if strings.IndexByte(s, 0) >= 0 {
					return field, fmt.Errorf("its argument or variable %d, %q, holds a zero byte", k, s)
				}
			}
		}
	}
	return "", nil
}

// An Error says which hook failed.
type Error struct {
	// Kind is the hook's, and Index its place among those.
	Kind  string
	Index int
	// Path is the program, Output the last that it has printed.
	Path, Output string
	Err          error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("error running hook %s: %v", e.Path, e.Err)
	if e.Output != "" {
		s += ", output: " + e.Output
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// timeout is how long a hook may take. What more there is than a Duration can hold is as good as none.
func timeout(h *specs.Hook) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	return time.Duration(min(int64(*h.Timeout), most)) * time.Second
}

// A Runner runs a container's hooks. Those of createContainer and startContainer take what is below Dir.
type Runner struct {
	Hooks *specs.Hooks
	// Dir is the container's bundle, in which hooks outside of the container are executed.
	Dir string

	// Process is the container's first one. Namespaces are those of it that the container has, by its pidfd.
	Process    *namespace.Process
	Namespaces namespace.Namespaces
	// Mapped says that the container has a user namespace of its own.
	Mapped bool
	// Group is its control group, or nil.
	Group *cgroups.Group
	// Contained makes what a startContainer hook gets: no more than the container's process. Its Namespaces, files and command are set
	// by the Runner.
	Contained func() (*namespace.Launch, error)
}

// Run runs the hooks of a kind in order, and stops at the first one that fails, with an *[Error].
func (r *Runner) Run(ctx context.Context, kind string, state *specs.State) error {
	for i := range Of(r.Hooks, kind) {
		if err := r.one(ctx, kind, i, state); err != nil {
			return err
		}
	}
	return nil
}

// RunAll runs all of them, whether they fail or not.
func (r *Runner) RunAll(kind string, state *specs.State) (errs []error) {
	for i := range Of(r.Hooks, kind) {
		if err := r.one(context.Background(), kind, i, state); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
