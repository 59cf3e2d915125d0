package container

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/namespace"
)

// hold sets the container up, all but its command.
func (c *Container) hold(ctx context.Context) (err error) {
	var u undo
	defer func() {
		if err != nil {
			u.run()
		}
	}()
	c.run.mu.Lock()
	started := c.run.started || c.held != nil
	c.run.mu.Unlock()
	if started {
		return wrong("Pool.New", "the container was started before, or is in a pool")
	}
	if c.Keep != nil {
		return wrong("Keep", "a pool has no containers that outlive the program")
	}
	if c.Shared != nil {
		return wrong("Shared", "a pool's containers are not shared")
	}
	if c.Scope != nil {
		return wrong("Scope", "a pool has no containers in scopes")
	}
	if hook.Any(c.Hooks, hook.Kinds...) {
		return wrong("Hooks", "a pool has no containers with hooks: they are set up before it is known what for")
	}
	if err := c.checkSetUp(); err != nil {
		return err
	}
	c.makeTargets()
	c.name = randomName()
	l, err := c.launch()
	if err != nil {
		return err
	}
	ward := &namespace.Ward{}
	if err := c.care(l, ward, &u); err != nil {
		return err
	}
	l.Created = func(proc *namespace.Process) error { return addToWard(ward, proc) }
	h, err := l.Hold(ctx)
	if err != nil {
		return c.explainOOM(startError(err))
	}
	c.held, c.heldLaunch, c.ward, c.fixed = h, l, ward, fixedFields(c)
	return nil
}

// startHeld starts the command of a container that is set up.
func (c *Container) startHeld(ctx context.Context, _ *undo) (*namespace.Ward, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	for name, value := range fixedFields(c) {
		if !reflect.DeepEqual(value, c.fixed[name]) {
			return nil, wrong(name, "it was changed, but the container was set up before, by its pool")
		}
	}
	l, err := c.Process.launch(c, c.Root)
	if err != nil {
		return nil, err
	}
	// Who owns the pipes depends on it.
	l.UIDMappings, l.GIDMappings, l.Namespaces.User = c.heldLaunch.UIDMappings, c.heldLaunch.GIDMappings, c.heldLaunch.Namespaces.User
	if c.Setup != nil {
		if err := c.Setup(ctx, c.held.Process().Pid()); err != nil {
			return nil, &StartError{Step: "set up", Path: c.String(), Err: err}
		}
	}
	if err := c.useFiles(l); err != nil {
		return nil, err
	}
	proc, err := c.held.Start(ctx, l)
	if err != nil {
		return nil, startError(err)
	}
	c.began(proc, time.Now())
	c.attach(proc.TTY())
	return c.ward, nil
}

// release undoes hold.
func (c *Container) release() error {
	err := c.held.Close()
	if e := c.removeGroup(); err == nil {
		err = e
	}
	if e := c.ward.Release(); err == nil {
		err = e
	}
	return err
}

// Close undoes a container that [Pool.Get] returned and that shall not be started. It does nothing if that was started, nor
// on other containers. A second Close does nothing.
func (c *Container) Close() error {
	if c.held == nil || c.begin() != nil {
		return nil
	}
	c.io.abort()
	return c.release()
}

// commandFields are the fields of a Process that have no effect before the command is executed.
var commandFields = []string{
	"Args", "Env", "Dir", "User", "Groups", "CapAdd", "CapDrop", "Capabilities", "NewPrivileges", "Rlimits", "Umask", "Attributes",
	"Stdin", "Stdout", "Stderr", "MaxOutput", "ExtraFiles", "TTY", "TTYSize", "StopSignal", "WaitDelay", "State",
}

// fixedFields returns the fields that have taken effect when the container is set up.
func fixedFields(c *Container) map[string]any {
	all := map[string]any{
		"Attributes.AppArmor": c.AppArmor, "Attributes.SELinux": c.SELinux, "Attributes.CPUAffinity": c.CPUAffinity,
	}
	add := func(v reflect.Value, except []string) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.IsExported() && !slices.Contains(except, f.Name) {
				all[f.Name] = v.Field(i).Interface()
			}
		}
	}
	add(reflect.ValueOf(&c.Process).Elem(), commandFields)
	add(reflect.ValueOf(c).Elem(), []string{"Process", "Setup", "Seccomp", "SeccompNotify", "SeccompState", "NoSeccomp", "Socketcall"})
	return all
}
