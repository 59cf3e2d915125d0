package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
)

// runCommand does a RUN: a container is made of the image so far, and the image of what it has left.
func (b *builder) runCommand(s *state, x *instruction) (failed error) {
	flags, err := x.only("mount", "network")
	if err != nil {
		return err
	}
	argv, script := s.command(x)
	if len(argv) == 0 {
		return bad("RUN without a command")
	}
	shown := strings.Join(argv, " ")
	args := b.runArgs(s)
	createdBy := shown
	if len(args) > 0 {
		createdBy = fmt.Sprintf("|%d %s %s", len(args), strings.Join(args, " "), shown)
	}
	network := ""
	if f := flags["network"]; f != nil {
		switch network = f[0]; network {
		case "none", "host", "default":
		default:
			return bad("unsupported network mode %.40q", network)
		}
	}
	keys := []string{s.key, "RUN", hash(argv...), hash(args...), script, network}
	var mounts []*runMount
	for _, f := range flags["mount"] {
		m, err := b.expandMount(s, f)
		if err != nil {
			return err
		}
		text, err := b.mountKey(s, m)
		if err != nil {
			return err
		}
		mounts, keys = append(mounts, m), append(keys, text)
	}
	key := hash(keys...)
	if hit, err := b.cached(s, key); err != nil || hit {
		return err
	}
	if s.img == nil {
		return fmt.Errorf("there is nothing to run %q in: the stage is built FROM scratch, and nothing was copied yet: %w", shown, errors.ErrUnsupported)
	}
	cfg := b.o.Container
	cfg.Image, cfg.Name, cfg.Platform, cfg.AutoRemove, cfg.RestartPolicy = s.img.ID.String(), "", "", true, engine.RestartPolicy{}
	cfg.Entrypoint, cfg.Command = []string{""}, argv
	cfg.Env = slices.Concat(s.config.Env, args, b.proxies(s))
	cfg.Dir, cfg.User, cfg.StopSignal = s.config.WorkingDir, s.config.User, ""
	cfg.Healthcheck = &image.Healthcheck{Test: []string{image.HealthNone}}
	cfg.TTY, cfg.OpenStdin, cfg.StdinOnce = false, false, false
	cfg.Mounts = slices.Clone(cfg.Mounts)
	switch network {
	case "none", "host":
		cfg.Network, cfg.Networks = network, nil
	}
	cfg.Labels = map[string]string{builderLabel: filepath.Base(b.scratch)}
	if script != "" {
		m, err := b.scriptMount(script, argv[0])
		if err != nil {
			return err
		}
		cfg.Mounts = append(cfg.Mounts, m)
	}
	for v := range s.config.Volumes {
		if _, has := s.img.Config.Config.Volumes[v]; !has && path.IsAbs(v) {
			cfg.Mounts = append(cfg.Mounts, engine.Mount{Type: "volume", Target: v})
		}
	}
	for _, m := range mounts {
		mounted, release, err := b.mount(s, m)
		if release != nil {
			defer func() { failed = errors.Join(failed, release()) }()
		}
		if err != nil {
			return err
		}
		if mounted != nil {
			cfg.Mounts = append(cfg.Mounts, *mounted)
		}
	}
	return b.container(s, &cfg, key, createdBy, shown)
}

// container runs a container and makes an image of it.
func (b *builder) container(s *state, cfg *engine.Config, key, createdBy, shown string) error {
	c, err := b.e.Create(b.ctx, cfg)
	if err != nil {
		return err
	}
	b.say(" ---> Running in %s", c.ShortID())
	r, err := b.e.Start(b.ctx, c.ID, &engine.StartOptions{
		Stdout: b.o.Output, Stderr: b.o.Output, Commit: b.options(s, key, createdBy),
	})
	if err != nil {
		err = errors.Join(err, b.e.Remove(context.WithoutCancel(b.ctx), c.ID, &engine.RemoveOptions{Force: true, Volumes: true}))
		var start *container.StartError
		if errors.As(err, &start) {
			return &RunError{Command: shown, Code: engine.ExitCode(err), Err: err}
		}
		return err
	}
	if err = r.Wait(b.ctx); b.ctx.Err() != nil && r.Image() == nil {
		_ = r.Process().Kill()
		_ = r.Wait(context.WithoutCancel(b.ctx))
		return context.Cause(b.ctx)
	}
	var exit *container.ExitError
	switch {
	case errors.As(err, &exit):
		return &RunError{Command: shown, Code: engine.ExitCode(err), Err: err}
	case err != nil:
		return err
	}
	if err := b.hold(r.Image()); err != nil {
		return err
	}
	b.say(" ---> Removed intermediate container %s", c.ShortID())
	b.rebase(s, r.Image())
	return nil
}

// scriptDir is where a here-document that says what runs it is found.
const scriptDir = "/dev/pipes"

// command returns what a RUN executes; script is not "" for a file that is executed itself.
func (s *state) command(x *instruction) (argv []string, script string) {
	if x.isList {
		return x.list, ""
	}
	text := x.rest
	if len(x.heredocs) == 1 && newHeredoc(text) != nil {
		h := x.heredocs[0]
		if strings.HasPrefix(h.content, "#!") {
			return []string{path.Join(scriptDir, "script")}, h.content
		}
		return append(s.shell(), h.content), ""
	}
	for _, h := range x.heredocs { // the shell reads them
		text += "\n" + h.content + h.name
	}
	return append(s.shell(), text), ""
}

func (b *builder) scriptMount(script, target string) (engine.Mount, error) {
	file := filepath.Join(b.scratch, "script-"+strconv.Itoa(b.step))
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return engine.Mount{}, err
	}
	return engine.Mount{Type: "bind", Source: file, Target: target, ReadOnly: true}, os.Chmod(file, 0o755)
}

// runArgs are the variables of ARG that RUN has besides those of ENV, sorted.
func (b *builder) runArgs(s *state) (list []string) {
	env := newVariables(s.config.Env)
	for _, a := range s.args.list {
		name, _ := cut(a)
		if _, set := env.Get(name); !set && !predefined[name] {
			list = append(list, a)
		}
	}
	sort.Strings(list)
	return list
}

// proxies are the predefined variables that were given.
func (b *builder) proxies(s *state) (list []string) {
	env := newVariables(s.config.Env)
	for name := range predefined {
		value, ok := b.o.Args[name]
		if declared, set := s.args.Get(name); !ok && set {
			value, ok = declared, true
		}
		if _, set := env.Get(name); ok && !set {
			list = append(list, name+"="+value)
		}
	}
	sort.Strings(list)
	return list
}
