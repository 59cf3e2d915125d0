package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caisson-engine/caisson/namespace"
)

// resolvePIDMode puts a container's ID in the place of its name in PIDMode.
func (e *Engine) resolvePIDMode(cfg *Config) error {
	ref, ok := strings.CutPrefix(cfg.PIDMode, "container:")
	if !ok {
		return nil
	}
	if cfg.Init {
		return invalid("conflicting options: an init and the PID mode %s", cfg.PIDMode)
	}
	if isolated := cfg.UserMode; isolated != "" && isolated != "host" {
		return invalid("conflicting options: user namespace mode %s and the PID mode %s", isolated, cfg.PIDMode)
	}
	id, err := e.resolve(ref)
	if err == nil {
		cfg.PIDMode = "container:" + id
	}
	return err
}

// joinPID puts the PID namespace of the container that PIDMode names, which must run, into c's place of it.
func (r *Run) joinPID(ctx context.Context, detach bool) error {
	id, ok := strings.CutPrefix(r.record.Config.PIDMode, "container:")
	if !ok {
		return nil
	}
	if detach {
		return fmt.Errorf("the PID namespace of another container, for one in background: not implemented: %w", errors.ErrUnsupported)
	}
	ns, err := r.namespaceOf(ctx, id, "pid")
	if err == nil {
		r.c.Namespaces.PID.Join = ns
	}
	return err
}

// namespaceOf opens a namespace, by its name in /proc/PID/ns, of another container, which must run.
func (r *Run) namespaceOf(ctx context.Context, id, kind string) (*os.File, error) {
	other, err := r.e.load(ctx, id)
	if err != nil {
		return nil, err
	}
	what := map[string]string{"net": "network", "pid": "PID namespace"}[kind]
	if other.State.Status != Running {
		return nil, conflict("cannot join %s of a non running container: %s", what, other.Name)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", other.State.Pid, kind))
	if err != nil {
		return nil, conflict("cannot join %s of container %s: %v", what, other.Name, err)
	}
	r.held = append(r.held, ns)
	p, err := other.process() // still the one whose namespace was opened
	if err != nil {
		return nil, conflict("cannot join %s of a non running container: %s", what, other.Name)
	}
	_ = p.Release()
	return ns, nil
}

// joinNetwork puts the network namespace of another container, which must run, into c's place of it.
func (r *Run) joinNetwork(ctx context.Context, to *namespace.Namespace) error {
	id, ok := strings.CutPrefix(r.record.Config.Network, "container:")
	if !ok {
		return nil
	}
	ns, err := r.namespaceOf(ctx, id, "net")
	if err == nil {
		to.Join = ns
	}
	return err
}
