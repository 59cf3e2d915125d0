package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/internal/bundle"
	"github.com/caisson-engine/caisson/internal/ocistate"
	"github.com/caisson-engine/caisson/namespace"
)

// How long a command waits for another one that changes the same container, and for processes to end that were killed, or end anyway.
const (
	lockWait = 10 * time.Second
	killWait = 10 * time.Second
)

// A container is one that has a folder. What is written down of it are the fields of the State.
type container struct {
	*ocistate.State
	c      *command
	folder *ocistate.Folder // nil if this command only reads

	config  *bundle.Bundle // what it is made of, in the command that makes it, or nil
	started bool           // by this command, when it made it

	manager *cgroups.Manager // these two are open in the command that makes the container, or nil
	group   *cgroups.Group
}

// claim makes the folder of a new container and locks it. It is to be ended by save and close, or by discard.
func (c *command) claim(id string, b *bundle.Bundle) (*container, error) {
	f, err := ocistate.Root(c.root).Claim(id)
	if err != nil {
		return nil, err
	}
	k := &container{State: ocistate.New(id, b.Dir, b.Spec), c: c, folder: f, config: b}
	if err := c.keepRoot(); err != nil {
		return nil, errors.Join(err, f.Remove())
	}
	return k, nil
}

// keepRoot has a root below $XDG_RUNTIME_DIR stay: the XDG specification has a sticky bit for what is not to be cleaned up.
func (c *command) keepRoot() error {
	if !c.xdgRoot {
		return nil
	}
	return os.Chmod(c.root, 0o700|os.ModeSticky)
}

// open finds a container, to read what is known of it.
func (c *command) open(id string) (*container, error) {
	s, err := ocistate.Root(c.root).Load(id)
	if err != nil {
		return nil, err
	}
	return &container{State: s, c: c}, nil
}

// lock finds a container and keeps other commands from changing it until close.
func (c *command) lock(id string) (*container, error) {
	f, err := c.lockFolder(id)
	if err != nil {
		return nil, err
	}
	s, err := f.Load()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &container{State: s, c: c, folder: f}, nil
}

func (c *command) lockFolder(id string) (*ocistate.Folder, error) {
	return ocistate.Root(c.root).Lock(id, lockWait)
}

// save writes the state down: from the first time on, the container exists.
func (k *container) save() error { return k.folder.Save(k.State) }

// close lets other commands change the container.
func (k *container) close() error {
	k.closeGroup()
	return k.folder.Close()
}

// closeGroup gives up the descriptors of the control group.
func (k *container) closeGroup() {
	if k.c.ends { // they go with the process
		return
	}
	if k.group != nil {
		_ = k.group.Close()
	}
	if k.manager != nil {
		_ = k.manager.Close()
	}
	k.group, k.manager = nil, nil
}

// status is what has become of the container: "created", "running", "paused" or "stopped".
func (k *container) status() (specs.ContainerState, error) {
	status, err := k.Status()
	if status != specs.StateCreated || namespace.Parked(k.dir()) {
		return status, err
	}
	// A start that was killed may have left the FIFO, at which nobody waits any more. (Other runtimes' processes wait in other
	// ways.)
	if _, err := os.Stat(k.dir() + "/" + reportFIFO); err != nil {
		return status, nil
	}
	if err := k.Alive(); err != nil {
		return k.Status()
	}
	return specs.StateRunning, nil
}

// noteGroup notes the control group that is about to be made at path, so that it is found if this command is killed.
func (k *container) noteGroup(m *cgroups.Manager, path string) error {
	dirs, err := m.Directories(path)
	if err != nil {
		return err
	}
	return k.folder.NoteGroup(dirs)
}

// setGroup notes the control group that was made.
func (k *container) setGroup(g *cgroups.Group) {
	k.Group, k.CgroupPaths = g.Paths(), g.ByController()
}

// errNoGroup says that there is none, or none any more. Callers of runc know the words.
var errNoGroup = errors.New("cgroup not exist")

// withGroup calls f with the container's control group. The error is errNoGroup if there is none.
func (k *container) withGroup(f func(*cgroups.Group) error) error {
	if len(k.Group) == 0 {
		return errNoGroup
	}
	called := false
	err := k.inGroup(k.Group, func(g *cgroups.Group) error {
		called = true
		return f(g)
	})
	if errors.Is(err, fs.ErrNotExist) && !called {
		return fmt.Errorf("%w: %w", errNoGroup, err)
	}
	return err
}

// inGroup calls f with the control group of the directories, which it opens unless it is open.
func (k *container) inGroup(dirs []string, f func(*cgroups.Group) error) error {
	if k.group != nil {
		return f(k.group)
	}
	m, err := cgroups.Detect()
	if err != nil {
		return err
	}
	defer m.Close()
	g, err := m.OpenPaths(dirs)
	if err != nil {
		return err
	}
	defer g.Close()
	return f(g)
}

// discard removes the container's control group, with all that still runs in it, and its folder, and lets other commands
// go on: what delete does, and undoes a create that failed, in this command or another one that was killed.
func (k *container) discard() error {
	defer k.closeGroup()
	dirs := k.Group
	if len(dirs) == 0 {
		var err error
		if dirs, err = k.notedGroup(); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), killWait)
			defer cancel()
			err = k.folder.KillNoted(ctx)
		}
		if err != nil {
			return errors.Join(err, k.folder.Close())
		}
	}
	if err := k.removeGroup(dirs); err != nil {
		return errors.Join(fmt.Errorf("unable to remove container's cgroup: %w", err), k.folder.Close())
	}
	k.endScope()
	k.removeMounts()
	if err := k.folder.Remove(); err != nil {
		return fmt.Errorf("unable to remove container state dir: %w", err)
	}
	return nil
}

// notedGroup returns the control group that a create was about to make, unless another container has it: then the create was
// killed before it saw that.
func (k *container) notedGroup() ([]string, error) {
	dirs, err := k.folder.Groups()
	if err != nil || len(dirs) == 0 {
		return nil, err
	}
	others, err := ocistate.Root(k.c.root).List()
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		s, err := ocistate.Root(k.c.root).Load(o.ID)
		if err == nil && slices.ContainsFunc(s.Group, func(dir string) bool { return slices.Contains(dirs, dir) }) {
			return nil, nil
		}
	}
	return dirs, nil
}

// removeGroup removes a control group, if it is there, and kills what runs in it.
func (k *container) removeGroup(dirs []string) error {
	if len(dirs) == 0 || k.emptied() && removeEmpty(dirs) {
		return nil
	}
	err := k.inGroup(dirs, func(g *cgroups.Group) error {
		if !k.emptied() {
			if err := killLeft(g); err != nil {
				return err
			}
		}
		err := g.Remove()
		if errors.Is(err, cgroups.ErrBusy) { // what another command has put in
			if err = killLeft(g); err == nil {
				err = g.Remove()
			}
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	removeEmpty(dirs) // those between that were made too, and that nobody else uses
	return nil
}

// removeEmpty removes the directories of a control group, and says whether all are gone: nothing runs in it, and nothing was made
// below it.
func removeEmpty(dirs []string) bool {
	all := true
	for _, dir := range dirs {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = false
		}
	}
	return all
}

// emptied says that nothing of the container runs any more: its PID namespace has ended with its first process.
func (k *container) emptied() bool {
	return k.InitProcessPid > 0 && k.OwnPIDNamespace() && errors.Is(k.Alive(), ocistate.ErrNotRunning)
}

// killLeft kills what runs in a control group.
func killLeft(g *cgroups.Group) error {
	pids, err := g.Pids()
	if err == nil && len(pids) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), killWait)
		defer cancel()
		err = g.Kill(ctx)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ociState is the state as the OCI runtime specification has it, which hooks get.
func (k *container) ociState(status specs.ContainerState) *specs.State {
	s := &specs.State{
		Version: k.OCIVersion, ID: k.ID, Status: status, Pid: k.InitProcessPid, Bundle: k.Bundle, Annotations: k.Annotations,
	}
	if status == specs.StateStopped {
		s.Pid = 0
	}
	return s
}
