package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/internal/hook"
	"github.com/caisson-engine/caisson/namespace"
)

// goName is the name of a field of specs.Hooks, of a hook's own too: "Hooks.CreateRuntime[0].Path".
func goName(field string) string {
	parts := strings.Split(field, ".")
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(append([]string{"Hooks"}, parts...), ".")
}

func (c *Container) checkHooks() error {
	if field, err := hook.Check(c.Hooks); err != nil {
		return wrong(goName(field), "%w", err)
	}
	if c.HookState == nil || c.HookState.Bundle == "" {
		return nil
	}
	b := c.HookState.Bundle
	if !filepath.IsAbs(b) || filepath.Clean(b) != b || strings.IndexByte(b, 0) >= 0 {
		return wrong("HookState.Bundle", "%q is not an absolute path in its shortest form", b)
	}
	return nil
}

// hookError names the hook that failed.
func hookError(err error) error {
	var failed *hook.Error
	if !errors.As(err, &failed) {
		return err
	}
	return &StartError{Step: "run hook", Path: goName(fmt.Sprintf("%s[%d]", failed.Kind, failed.Index)), Err: err}
}

// hooking is what a container's hooks take. It is nil if there are none.
type hooking struct {
	// What is kept for whoever sees the end of a container that outlives the program.
	Hooks *specs.Hooks
	State specs.State

	c     *Container
	noted string      // the file, of a container with a Keep
	began atomic.Bool // hooks may have been run: those of Poststop are to be, too
	over  atomic.Bool
}

// beginHooks makes what hooks need, and puts them into the launch.
func (c *Container) beginHooks(ctx context.Context, l *namespace.Launch, u *undo) error {
	if !hook.Any(c.Hooks, hook.Kinds...) {
		return nil
	}
	h := &hooking{Hooks: c.Hooks, c: c}
	if c.HookState != nil {
		h.State = *c.HookState
	}
	h.State.Version = specs.Version
	if h.State.ID == "" {
		h.State.ID = filepath.Base(c.groupPath())
	}
	u.add(func() { _ = h.end() })
	if err := h.makeBundle(l); err != nil {
		return &StartError{Step: "make bundle of hooks", Path: h.State.Bundle, Err: err}
	}
	if err := h.note(); err != nil {
		return &StartError{Step: "note hooks", Path: h.noted, Err: err}
	}
	c.hooks = h
	c.launchHooks(ctx, l, h)
	return nil
}

// launchHooks has the launch call the hooks. h may be nil where nothing is started.
func (c *Container) launchHooks(ctx context.Context, l *namespace.Launch, h *hooking) {
	if hook.Any(c.Hooks, "prestart", "createRuntime", "createContainer") {
		l.RootAt = h.rootfs()
		l.BeforeRoot = func(p *namespace.Process) error {
			return h.run(ctx, p, specs.StateCreating, "prestart", "createRuntime", "createContainer")
		}
	}
	if hook.Any(c.Hooks, "startContainer") {
		l.BeforeCommand = func(p *namespace.Process) error { return h.run(ctx, p, specs.StateCreated, "startContainer") }
	}
}

func (h *hooking) rootfs() string {
	if h == nil {
		return filepath.Join(os.TempDir(), bundlePattern, "rootfs")
	}
	return filepath.Join(h.State.Bundle, "rootfs")
}

const bundlePattern = "caisson-bundle-"

// makeBundle makes the folder in which hooks find the configuration and, in the container's mount namespace, the root.
func (h *hooking) makeBundle(l *namespace.Launch) (err error) {
	dir := h.State.Bundle
	h.State.Bundle = "" // until it is ours
	if dir != "" {
		err = os.Mkdir(dir, 0o700)
	} else if dir, err = os.MkdirTemp("", bundlePattern); err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	h.State.Bundle = dir
	config, err := json.Marshal(h.c.configuration(l, h))
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "config.json")
	for _, step := range []func() error{
		func() error { return os.Mkdir(h.rootfs(), 0o700) },
		func() error { return os.Chmod(h.rootfs(), 0o755) }, // whatever the umask is
		func() error { return os.WriteFile(name, config, 0o600) },
		func() error { return h.c.giveToRoot(name) },
		func() error { return os.Chmod(dir, 0o711) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// giveToRoot gives a file to the container's root: hooks in its namespaces are to read it, and nobody else.
func (c *Container) giveToRoot(name string) error {
	uid, ok := namespace.HostID(c.uids, 0)
	gid, too := namespace.HostID(c.gids, 0)
	if !ok || !too || int(uid) == os.Geteuid() {
		return nil
	}
	return os.Chown(name, int(uid), int(gid))
}

// configuration is what of the container hooks look at, as an OCI configuration.
func (c *Container) configuration(l *namespace.Launch, h *hooking) *specs.Spec {
	s := &specs.Spec{
		Version: specs.Version, Hostname: l.Hostname, Domainname: l.Domainname, Annotations: h.State.Annotations, Hooks: h.Hooks,
		Root: &specs.Root{Path: h.rootfs(), Readonly: l.ReadOnlyRoot},
		Process: &specs.Process{
			Terminal: l.TTY, Args: l.Args, Env: l.Env, Cwd: "/", NoNewPrivileges: !l.NewPrivileges,
			User: specs.User{UID: l.User.UID, GID: l.User.GID, AdditionalGids: l.User.Groups},
		},
		Linux: &specs.Linux{CgroupsPath: c.groupPath()},
	}
	if l.Dir != "" {
		s.Process.Cwd = l.Dir
	}
	for _, m := range l.Mounts {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: m.Target, Type: m.Type, Source: m.Source})
	}
	for _, maps := range []struct {
		of []IDMapping
		to *[]specs.LinuxIDMapping
	}{{c.uids, &s.Linux.UIDMappings}, {c.gids, &s.Linux.GIDMappings}} {
		for _, m := range maps.of {
			*maps.to = append(*maps.to, specs.LinuxIDMapping{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
		}
	}
	return s
}

// run runs the hooks of some kinds while the process p waits.
func (h *hooking) run(ctx context.Context, p *namespace.Process, status specs.ContainerState, kinds ...string) error {
	h.began.Store(true)
	c := h.c
	r := &hook.Runner{
		Hooks: h.Hooks, Dir: h.State.Bundle, Process: p, Namespaces: c.joinedBy(namespace.Namespace{Join: p.PidFD()}), Mapped: len(c.uids) > 0,
		Contained: func() (*namespace.Launch, error) { return c.containedHook(p) },
	}
	c.groupMu.Lock()
	r.Group = c.group
	c.groupMu.Unlock()
	for _, kind := range kinds {
		if err := hookError(r.Run(ctx, kind, h.state(status, p.Pid()))); err != nil {
			return err
		}
	}
	return nil
}

func (h *hooking) state(status specs.ContainerState, pid int) *specs.State {
	s := h.State
	s.Status, s.Pid = status, pid
	return &s
}

// containedHook is a program of the image's, which gets no more than the container's process: its user, capabilities, filter and
// limits.
func (c *Container) containedHook(init *namespace.Process) (*namespace.Launch, error) {
	l, err := c.Process.launch(c, namespace.Dir(fmt.Sprintf("/proc/%d/root", init.Pid())))
	if err != nil {
		return nil, err
	}
	l.TTY, l.TTYSize, l.ExtraFiles, l.Dir = false, namespace.WinSize{}, nil, ""
	return l, nil
}

// poststart runs the hooks that come when the command is executed.
func (h *hooking) poststart(ctx context.Context, pid int) error {
	if h == nil {
		return nil
	}
	h.began.Store(true)
	r := &hook.Runner{Hooks: h.Hooks, Dir: h.State.Bundle}
	return hookError(r.Run(ctx, "poststart", h.state(specs.StateRunning, pid)))
}

// end runs the hooks that come after the end, if any were run before, and removes the bundle. Of those who see the end of a container that
// outlives its program one does it.
func (h *hooking) end() error {
	if h == nil || h.over.Swap(true) {
		return nil
	}
	if h.noted != "" {
		if err := os.Remove(h.noted); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	var errs []error
	if h.began.Load() {
		r := &hook.Runner{Hooks: h.Hooks, Dir: h.State.Bundle}
		for _, err := range r.RunAll("poststop", h.state(specs.StateStopped, 0)) {
			errs = append(errs, hookError(err))
		}
	}
	if h.State.Bundle != "" {
		errs = append(errs, removeBundle(h.State.Bundle))
	}
	return errors.Join(errs...)
}

// removeBundle removes what makeBundle has made, and nothing else.
func removeBundle(dir string) error {
	for _, name := range []string{filepath.Join(dir, "config.json"), filepath.Join(dir, "rootfs"), dir} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// hooksFile begins the name of the file that has, in a Keep's folder, what is to be done at the end. The rest is another one for each start,
// so that who has waited for the end of one does not take what is the next one's.
const hooksFile = "hooks-"

func (h *hooking) note() error {
	k := h.c.Keep
	if k == nil {
		return nil
	}
	h.noted = filepath.Join(k.Dir, hooksFile+randomName())
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return os.WriteFile(h.noted, b, 0o600)
}

// findHooks finds what is to be done at the end of a container that another program has started.
func (c *Container) findHooks() error {
	found, err := filepath.Glob(filepath.Join(globEscape(c.Keep.Dir), hooksFile+"*"))
	if err != nil || len(found) == 0 {
		return err
	}
	h := &hooking{c: c, noted: found[0]}
	b, err := os.ReadFile(h.noted)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, h)
	}
	if err != nil {
		return fmt.Errorf("container: %s: %w", h.noted, err)
	}
	h.began.Store(true)
	c.hooks = h
	return nil
}

// globEscape is a path as a pattern for itself.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
