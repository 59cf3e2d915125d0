package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caisson-engine/caisson/cgroups"
	"github.com/caisson-engine/caisson/namespace"
)

// A Keep says where a container that outlives the host program has its files: its log, and how it ended.
type Keep = namespace.Keep

// OpenLog opens the log of the container that has dir as the folder of its Keep.
func OpenLog(dir string) (*namespace.LogReader, error) { return namespace.OpenLog(dir) }

func (c *Container) checkInit() error {
	if c.Init && !isNew(c.Namespaces.PID) {
		return wrong("Init", "an init needs a PID namespace of the container's own")
	}
	return nil
}

func (c *Container) checkKeep() error {
	switch k := c.Keep; {
	case k == nil:
		return nil
	case c.Stdin != nil || c.Stdout != nil || c.Stderr != nil:
		return wrong("Keep", "the output of a container that outlives the program goes to its log: leave Stdin, Stdout and Stderr nil")
	case c.MaxOutput != 0:
		return wrong("MaxOutput", "the log of a container that outlives the program is bounded by Keep.LogSize")
	case len(c.ExtraFiles) > 0:
		return wrong("Keep", "ExtraFiles cannot be given to a container that outlives the program")
	case c.Cgroup == "" && !c.NoCgroup && c.Scope == nil:
		return wrong("Cgroup", "a container that outlives the program is found again by its control group: give that a name")
	}
	return nil
}

// Adopt takes over a container that this program, or one before it, started with a Keep of the same folder: it may run or
// have ended. The fields are to be those with which it was started. After an error it can be tried again; after a success the methods work as after
// Start, Wait among them; the State's Started is unknown, and zero.
//
// Errors: [namespace.ErrNotKept] if no container was started with the folder.
func (c *Container) Adopt(ctx context.Context) error {
	if c.Keep == nil {
		return wrong("Keep", "there is none to adopt the container by")
	}
	// Not what was looked at when it was started: the source of a bind, say, need not be there any more.
	if err := firstError(c.Process.check, c.checkIsolation, c.checkKeep); err != nil {
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.findMappings(); err != nil {
		return err
	}
	proc, err := namespace.Adopt(ctx, c.Keep.Dir)
	if err != nil {
		c.unbegin()
		return err
	}
	if err = c.findHooks(); err == nil {
		err = c.findGroup()
	}
	if err != nil {
		c.unbegin()
		return errors.Join(err, proc.Close())
	}
	c.adopted.Store(true)
	c.began(proc, time.Time{})
	ward := &namespace.Ward{}
	go c.watch(func(s *State) error { return c.ended(s, ward) })
	return nil
}

// findGroup opens the control group, if it is still there.
func (c *Container) findGroup() error {
	if c.NoCgroup {
		return nil
	}
	m, err := manager()
	if err != nil {
		return err
	}
	g, err := c.openGroup(m)
	if errors.Is(err, fs.ErrNotExist) { // whoever saw the end has removed it
		return nil
	}
	if err != nil {
		return err
	}
	paused, _ := g.Frozen() // by another program; what is being removed is not
	c.groupMu.Lock()
	c.group, c.paused = g, paused
	c.groupMu.Unlock()
	return nil
}

// groupsFile has, in a Keep's folder, the directories of the control group: its name may be relative to the group of the
// program that started the container, and Adopt is called by another one.
const groupsFile = "groups"

func (c *Container) noteGroups(dirs []string, u *undo) error {
	if c.kept() == nil {
		return nil
	}
	return c.note(groupsFile, dirs, u)
}

// note writes what a control group is found by into a file of the Keep's folder.
func (c *Container) note(file string, list []string, u *undo) error {
	path := filepath.Join(c.kept().Dir, file)
	u.add(func() { _ = os.Remove(path) })
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return &StartError{Step: "note control group", Path: path, Err: err}
	}
	return nil
}

func (c *Container) openGroup(m *cgroups.Manager) (*cgroups.Group, error) {
	return c.openNoted(m, groupsFile, c.Cgroup)
}

// openNoted opens the control group whose directories were noted in a file of the Keep's folder, or that has the name.
func (c *Container) openNoted(m *cgroups.Manager, file, name string) (*cgroups.Group, error) {
	dirs, err := c.noted(file)
	if errors.Is(err, fs.ErrNotExist) && c.Scope == nil { // an older version started it
		return m.Open(name)
	}
	if err != nil {
		return nil, err
	}
	return m.OpenPaths(dirs)
}

// noted reads what note has written.
func (c *Container) noted(file string) ([]string, error) {
	path := filepath.Join(c.kept().Dir, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// Discard removes the control group of a container that does not run: a program that was killed while it
// started one leaves that in nobody's care, and it would be in the way of the next Start. The fields are to be those of the
// start. It is no error if there is none. Hooks of such a container that come after its end are run.
func (c *Container) Discard(ctx context.Context) error {
	err := c.discardGroup(ctx)
	if c.Keep == nil {
		return err
	}
	if e := c.findHooks(); e != nil {
		return errors.Join(err, e)
	}
	if e := c.hooks.end(); e != nil {
		return errors.Join(err, fmt.Errorf("container: discard %s: %w", c, e))
	}
	return err
}

func (c *Container) discardGroup(ctx context.Context) error {
	if c.NoCgroup {
		return nil
	}
	m, err := manager()
	if err != nil {
		return nil // where there are no control groups, none is left
	}
	// It is not noted yet where the program was killed between the making and the noting.
	named := func() (*cgroups.Group, error) { return c.openNamed(m, "") }
	opens := []func() (*cgroups.Group, error){named}
	if c.Keep != nil {
		opens = []func() (*cgroups.Group, error){
			func() (*cgroups.Group, error) { return c.openGroup(m) },
			named,
			func() (*cgroups.Group, error) { return c.openNoted(m, keeperGroupsFile, c.Cgroup+keeperSuffix) },
			func() (*cgroups.Group, error) { return c.openNamed(m, keeperSuffix) },
		}
	}
	for _, open := range opens {
		g, err := open()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(removeOrKill(ctx, g), g.Close())
		}
		if err != nil {
			return fmt.Errorf("container: discard %s: %w", c, err)
		}
	}
	if c.Keep != nil {
		folders, _ := c.noted(groupsFile)
		c.scopeEnded(folders)
	}
	return nil
}

// openNamed opens the control group by its name, of which there is none in a scope.
func (c *Container) openNamed(m *cgroups.Manager, suffix string) (*cgroups.Group, error) {
	if c.Scope != nil {
		return nil, fs.ErrNotExist
	}
	return m.Open(c.Cgroup + suffix)
}

// oomFile is there, in a Keep's folder, if the OOM killer struck: the control group that knows is removed by the first
// program that sees the end.
const oomFile = "oom"

func (c *Container) noteOOM(s *State) error {
	if c.kept() == nil || !s.OOMKilled {
		return nil
	}
	return os.WriteFile(filepath.Join(c.kept().Dir, oomFile), nil, 0o600)
}

func (c *Container) notedOOM() bool {
	if c.Keep == nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(c.Keep.Dir, oomFile)); err == nil {
		return true
	}
	b, err := os.ReadFile(filepath.Join(c.Keep.Dir, namespace.AtEndFile))
	return err == nil && cgroups.OOMCount(b) > 0
}

// Input returns the writing end of the standard input of a container with a Keep, or its terminal: with Keep.Stdin or TTY.
// The caller closes it. Errors: os.ErrProcessDone if the container has ended, os.ErrClosed if there is no input.
func (c *Container) Input(ctx context.Context) (*os.File, error) {
	p := c.process()
	if p == nil {
		return nil, errors.New("container: not started")
	}
	return p.Input(ctx)
}

// CloseInput ends the standard input of a container with a Keep.Stdin: it reads end of file when everyone who has called
// Input has closed what that returned.
func (c *Container) CloseInput(ctx context.Context) error {
	p := c.process()
	if p == nil {
		return errors.New("container: not started")
	}
	return p.CloseInput(ctx)
}

func (c *Container) process() *namespace.Process {
	c.run.mu.Lock()
	defer c.run.mu.Unlock()
	return c.run.proc
}
