package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/namespace"
)

// resolveModes puts containers' IDs in the place of their names in PIDMode and IPCMode.
func (e *Engine) resolveModes(cfg *Config) error {
	for kind, mode := range map[string]*string{"PID": &cfg.PIDMode, "IPC": &cfg.IPCMode} {
		ref, ok := strings.CutPrefix(*mode, "container:")
		if !ok {
			continue
		}
		if cfg.Init && kind == "PID" {
			return invalid("conflicting options: an init and the PID mode %s", cfg.PIDMode)
		}
		if isolated := cfg.UserMode; isolated != "" && isolated != "host" {
			return invalid("conflicting options: user namespace mode %s and the %s mode %s", isolated, kind, *mode)
		}
		id, err := e.resolve(ref)
		if err != nil {
			return err
		}
		*mode = "container:" + id
	}
	return nil
}

// joinPID puts the PID namespace of the container that PIDMode names, which must run, into c's place of it.
func (r *Run) joinPID(ctx context.Context) error {
	id, ok := strings.CutPrefix(r.record.Config.PIDMode, "container:")
	if !ok {
		return nil
	}
	ns, err := r.namespaceOf(ctx, id, "pid")
	if err == nil {
		r.c.Namespaces.PID = namespace.Namespace{Join: ns}
	}
	return err
}

// joinIPC puts the IPC namespace and /dev/shm of the container that IPCMode names, which must run and be shareable, into c's place of them.
func (r *Run) joinIPC(ctx context.Context) error {
	id, ok := strings.CutPrefix(r.record.Config.IPCMode, "container:")
	if !ok {
		return nil
	}
	other, err := r.e.load(ctx, id)
	if err != nil {
		return err
	}
	if other.Config.IPCMode != "shareable" {
		return conflict("cannot join IPC of container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)", other.Name)
	}
	// The mounts first: when the other namespace is open, and its process still there, they were the same container's.
	mounts, err := r.namespaceOf(ctx, id, "mnt")
	if err != nil {
		return err
	}
	ns, err := r.namespaceOf(ctx, id, "ipc")
	if err != nil {
		return err
	}
	r.c.Namespaces.IPC = namespace.Namespace{Join: ns}
	shm, err := namespace.MountOf(mounts, "/dev/shm")
	if err != nil {
		return fmt.Errorf("join IPC of container %s: %w", other.Name, err)
	}
	root := namespace.Detached(shm, "/dev/shm of "+other.Name, nil)
	r.held = append(r.held, root)
	r.c.Mounts = append(r.c.Mounts, container.Mount{Root: root, Target: "/dev/shm", Flags: container.NoSuid | container.NoDev | container.NoExec})
	return nil
}

// namespaceOf opens a namespace, by its name in /proc/PID/ns, of another container, which must run.
func (r *Run) namespaceOf(ctx context.Context, id, kind string) (*os.File, error) {
	other, err := r.e.load(ctx, id)
	if err != nil {
		return nil, err
	}
	what := map[string]string{"net": "network", "pid": "PID namespace", "ipc": "IPC", "mnt": "IPC"}[kind]
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
