package engine

import (
	"cmp"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/layer"
	"github.com/caisson-engine/caisson/namespace"
	"github.com/caisson-engine/caisson/volume"
)

// mount mounts the container's root file system: the image's layers below a writable one of its own.
func (r *Run) mount(ctx context.Context) error {
	img, err := r.e.images.Get(ctx, string(r.record.ImageID), nil)
	if err != nil {
		return err
	}
	release, err := r.e.images.Hold(ctx, img)
	if err != nil {
		return err
	}
	r.held = append(r.held, closer(release))
	id := r.record.ID
	r.root, err = layer.Mount(ctx, img.Layers, &layer.MountOptions{
		Upper: r.e.path(id, "upper"), Work: r.e.path(id, "work"), Volatile: r.record.Config.AutoRemove,
		UIDMappings: r.record.UIDMappings, GIDMappings: r.record.GIDMappings, Copy: r.record.copyMode(),
	})
	if err != nil {
		return err
	}
	if err := r.record.asRoot(func() error { return r.root.MkdirAll(r.record.Dir, 0o755) }); err != nil {
		return err
	}
	return r.record.writeEtc(r.e.path(r.record.ID))
}

// A closer is a function that takes something back.
type closer func() error

func (c closer) Close() error { return c() }

// build translates the record into a container in r.root.
func (r *Run) build(ctx context.Context) (*container.Container, error) {
	return r.record.build(r.root, &sources{
		etc:    r.e.etcOf(r.record),
		parent: r.e.cgroupParent(),
		volume: func(m *Mount) (*volumeSource, error) { return r.useVolume(ctx, m) },
		image:  func(m *Mount) (*namespace.Root, error) { return r.useImage(ctx, m) },
	})
}

// Sources are where on the host mounts are found.
type sources struct {
	etc    string // the folder of the files for /etc
	parent string // the control group that the container's is made in
	volume func(*Mount) (*volumeSource, error)
	image  func(*Mount) (*namespace.Root, error)
}

// A volumeSource is a volume, and where it is a file system of its own what attaches that.
type volumeSource struct {
	volume.Volume
	attach *container.Mount
}

// build translates the record into a container.
func (rec *Container) build(root *namespace.Root, s *sources) (*container.Container, error) {
	c, err := rec.container(root)
	if err != nil {
		return nil, err
	}
	for i := range c.Mounts { // those of its devices
		if m := &c.Mounts[i]; m.Type == "bind" && rec.idMap() != nil {
			m.IDMap = &namespace.IDMap{IfPossible: true}
		}
	}
	if c.Scope == nil {
		c.Cgroup = path.Join(cmp.Or(rec.Config.CgroupParent, s.parent), "caisson-"+rec.ShortID())
		if rec.Config.CgroupParent == "" {
			ungrouped(c)
		}
	}
	return c, rec.addMounts(c, s)
}

// found is the container as one is that was started before: to find what there is of it. Its devices may have been described by a file that has
// gone since.
func (rec *Container) found() (*container.Container, error) {
	c, err := rec.container(namespace.Dir("/"))
	if err == nil || len(rec.Config.CDIDevices) == 0 {
		return c, err
	}
	without := *rec
	without.Config.CDIDevices = nil
	return without.container(namespace.Dir("/"))
}

// container translates the record but for its mounts.
func (rec *Container) container(root *namespace.Root) (*container.Container, error) {
	cfg := &rec.Config
	c := container.New(root, rec.Args...)
	c.Env, c.Dir, c.User, c.Groups = slices.Concat(rec.LinkEnv, rec.Env), rec.Dir, rec.User, cfg.Groups
	c.TTY, c.StopSignal = cfg.TTY, syscall.Signal(rec.StopSignal)
	c.Hostname, c.ReadOnlyRoot, c.ShmSize = rec.Hostname, cfg.ReadOnlyRoot, cfg.ShmSize
	c.Namespaces.Network.Host = cfg.Network == "host"
	c.UIDMappings, c.GIDMappings = rec.UIDMappings, rec.GIDMappings
	c.Privileged, c.CapAdd, c.CapDrop = cfg.Privileged, cfg.CapAdd, cfg.CapDrop
	c.NewPrivileges = !cfg.NoNewPrivileges
	c.Seccomp, c.NoSeccomp = cfg.Seccomp, cfg.NoSeccomp
	c.Sysctls = cfg.Sysctls
	c.Memory, c.MemorySwap, c.MemoryReservation = cfg.Memory, cfg.MemorySwap, cfg.MemoryReservation
	c.CPUs, c.CPUShares, c.CpusetCPUs, c.CpusetMems = cfg.CPUs, cfg.CPUShares, cfg.CpusetCPUs, cfg.CpusetMems
	c.Init = cfg.Init
	c.PidsLimit, c.OOMScoreAdj = cfg.PidsLimit, cfg.OOMScoreAdj
	c.Resources = cfg.Resources
	switch cfg.CgroupNamespace {
	case "", "private":
	case "host":
		c.Namespaces.Cgroup.Host = true
	default:
		return nil, invalid("invalid cgroup namespace mode: %s", cfg.CgroupNamespace)
	}
	c.Cgroup = strings.TrimRight(cfg.CgroupParent, "/") + "/caisson-" + rec.ShortID()
	if cfg.CgroupParent == "" {
		c.Cgroup = "caisson-" + rec.ShortID()
	}
	rec.scope(c)
	if err := cfg.Isolation.apply(c); err != nil {
		return nil, err
	}
	for _, u := range cfg.Ulimits {
		resource, ok := namespace.RlimitByName(u.Name)
		if !ok {
			return nil, invalid("invalid ulimit type: %s", u.Name)
		}
		c.Rlimits = append(c.Rlimits, container.Rlimit{Resource: resource, Soft: bound(u.Soft), Hard: bound(u.Hard)})
	}
	return c, nil
}

func bound(n int64) uint64 {
	if n < 0 {
		return namespace.RlimitInfinity
	}
	return uint64(n)
}

// addMounts adds the files of /etc, then the container's own mounts, which may cover them.
func (rec *Container) addMounts(c *container.Container, s *sources) error {
	taken := func(target string) bool {
		return slices.ContainsFunc(rec.Mounts, func(m Mount) bool { return m.Target == target })
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if target := "/etc/" + name; !taken(target) {
			m := container.Bind(filepath.Join(s.etc, name), target)
			m.IDMap = rec.idMap()
			if rec.Config.ReadOnlyRoot {
				m.Flags |= container.ReadOnly
			}
			c.Mounts = append(c.Mounts, m)
		}
	}
	for _, m := range rec.Mounts {
		var mounted container.Mount
		switch m.Type {
		case "bind":
			mounted = container.Bind(m.Source, m.Target)
			mounted.IDMap = rec.idMap()
		case "volume":
			v, err := s.volume(&m)
			if err == nil {
				mounted, err = rec.volumeMount(&m, v)
			}
			if err != nil {
				return err
			}
		case "image":
			root, err := s.image(&m)
			if err != nil {
				return err
			}
			mounted = container.Mount{Root: root, Target: m.Target, Subpath: m.Subpath, Flags: container.ReadOnly | container.NoSuid | container.NoDev}
		case "tmpfs":
			var err error
			if mounted, err = tmpfs(&m); err != nil {
				return err
			}
		}
		m.flags(&mounted)
		c.Mounts = append(c.Mounts, mounted)
	}
	return nil
}

// volumeMount mounts a volume.
func (rec *Container) volumeMount(m *Mount, v *volumeSource) (container.Mount, error) {
	if v.attach != nil {
		mounted := *v.attach
		mounted.Target, mounted.Subpath, mounted.IDMap = m.Target, m.Subpath, rec.idMap()
		return mounted, nil
	}
	if v.Mount != nil && v.Mount.Type == "tmpfs" {
		if m.Subpath != "" {
			return container.Mount{}, invalid("volume %s is a tmpfs, which has no subpath", v.Name)
		}
		return tmpfs(&Mount{Target: m.Target, Options: v.Mount.Options})
	}
	mounted := container.Bind(v.Path, m.Target)
	mounted.Subpath, mounted.IDMap = m.Subpath, rec.idMap()
	if v.Mount != nil && v.Mount.ReadOnly() {
		mounted.Flags |= container.ReadOnly
	}
	return mounted, nil
}

// tmpfs sorts the options of a tmpfs into the mount's flags and the file system's options.
func tmpfs(m *Mount) (container.Mount, error) {
	t := container.Tmpfs(m.Target, "")
	var data []string
	for _, option := range strings.Split(m.Options, ",") {
		name, _, _ := strings.Cut(option, "=")
		switch name {
		case "":
		case "ro":
			t.Flags |= container.ReadOnly
		case "rw":
			t.Flags &^= container.ReadOnly
		case "exec":
			t.Flags &^= container.NoExec
		case "noexec":
			t.Flags |= container.NoExec
		case "suid":
			t.Flags &^= container.NoSuid
		case "nosuid":
			t.Flags |= container.NoSuid
		case "dev":
			t.Flags &^= container.NoDev
		case "nodev":
			t.Flags |= container.NoDev
		case "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks":
			data = append(data, option)
		default:
			return t, invalid("invalid tmpfs option %q", option)
		}
	}
	t.Data = strings.Join(data, ",")
	return t, nil
}

// writeEtc writes the files that are bound into the container's /etc.
func (rec *Container) writeEtc(dir string) error {
	for name, text := range map[string]string{
		"hosts": rec.hosts(), "resolv.conf": rec.resolvConf(), "hostname": rec.Hostname + "\n",
	} {
		if err := writePlain(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// hostFile returns the content of a file of the host, or what to take in its place.
func hostFile(path, fallback string) string {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return fallback
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return fallback
	}
	return string(b)
}

// writePlain writes a file that every user may read, whatever the umask.
func writePlain(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644)
}
