package engine

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// merge fills in what the container runs from its Config and the image's configuration.
func (c *Container) merge(image *ocispec.ImageConfig) error {
	cfg := &c.Config
	entrypoint, command := cfg.Entrypoint, cfg.Command
	if len(entrypoint) == 0 {
		if len(command) == 0 {
			command = image.Cmd
		}
		if entrypoint == nil {
			entrypoint = image.Entrypoint
		}
	}
	if len(entrypoint) == 1 && entrypoint[0] == "" {
		entrypoint = nil
	}
	c.Args = slices.Concat(entrypoint, command)
	if len(c.Args) == 0 || c.Args[0] == "" {
		return invalid("no command specified")
	}

	c.Dir = cmp.Or(cfg.Dir, image.WorkingDir, "/")
	if !path.IsAbs(c.Dir) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", c.Dir)
	}
	c.Dir = path.Clean(c.Dir)
	c.User = cmp.Or(cfg.User, image.User)
	c.StopSignal = int(syscall.SIGTERM)
	if s := cmp.Or(cfg.StopSignal, image.StopSignal); s != "" {
		n, err := ParseSignal(s)
		if err != nil {
			return err
		}
		c.StopSignal = n
	}
	c.Labels = maps.Clone(image.Labels)
	for name, value := range cfg.Labels {
		if c.Labels == nil {
			c.Labels = make(map[string]string)
		}
		c.Labels[name] = value
	}
	return c.mergeEnv(image.Env)
}

func (c *Container) mergeEnv(image []string) error {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + c.Hostname}
	if c.Config.TTY {
		env = append(env, "TERM=xterm")
	}
	for _, v := range slices.Concat(image, c.Config.Env) {
		name, _, ok := strings.Cut(v, "=")
		if name == "" || strings.ContainsRune(v, 0) {
			return invalid("invalid environment variable: %q", v)
		}
		if !ok { // a name alone takes the image's value away
			env = slices.DeleteFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
			continue
		}
		i := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if i >= 0 {
			env[i] = v
			continue
		}
		env = append(env, v)
	}
	c.Env = env
	return nil
}

// mergeMounts checks the mounts, and adds those of other containers and the image's volumes.
func (c *Container) mergeMounts(others []Mount, image map[string]struct{}) error {
	seen := make(map[string]bool)
	for _, m := range c.Config.Mounts {
		if err := m.check(); err != nil {
			return err
		}
		m.Target = path.Clean(m.Target)
		if seen[m.Target] {
			return invalid("Duplicate mount point: %s", m.Target)
		}
		seen[m.Target] = true
		c.Mounts = append(c.Mounts, m)
	}
	for _, m := range others {
		if !seen[m.Target] {
			seen[m.Target] = true
			c.Mounts = append(c.Mounts, m)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(image)) {
		clean := path.Clean(target)
		if seen[clean] {
			continue
		}
		seen[clean] = true
		m := Mount{Type: "volume", Target: clean}
		if err := m.check(); err != nil {
			return invalid("the image's volume %q: %v", target, err)
		}
		c.Mounts = append(c.Mounts, m)
	}
	for i, m := range c.Mounts {
		if m.Type == "volume" && m.Source == "" {
			c.Mounts[i].Source = newID()
			c.AnonymousVolumes = append(c.AnonymousVolumes, c.Mounts[i].Source)
		}
	}
	return nil
}
