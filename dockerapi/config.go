package dockerapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"

	libcontainer "github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/network"
)

// A createBody is the body of a request to create a container.
type createBody struct {
	*container.Config
	HostConfig       *hostConfig
	NetworkingConfig *apinetwork.NetworkingConfig
	// MacAddress is a field of clients before version 1.44.
	MacAddress string
}

// A hostConfig has the fields too that clients before version 1.42 send.
type hostConfig struct {
	container.HostConfig
	KernelMemory, KernelMemoryTCP int64
}

// refuse returns an error that names the first of the fields that are set and that this engine has nothing for.
func refuse(prefix string, set map[string]bool) error {
	for _, field := range slices.Sorted(maps.Keys(set)) {
		if set[field] {
			return notImplemented(prefix + "." + field)
		}
	}
	return nil
}

// configOf translates a request to create a container. What has no counterpart is refused by its name; what is the client's own and says
// nothing of the container is left out: Config.AttachStdin, AttachStdout and AttachStderr, HostConfig.ContainerIDFile.
func (s *Server) configOf(b *createBody) (*engine.Config, error) {
	if b.Config == nil {
		return nil, badRequest("config cannot be empty in order to create a container")
	}
	if b.HostConfig == nil {
		b.HostConfig = &hostConfig{}
	}
	if err := refuse("HostConfig", map[string]bool{
		"KernelMemory": b.HostConfig.KernelMemory != 0, "KernelMemoryTCP": b.HostConfig.KernelMemoryTCP != 0,
	}); err != nil {
		return nil, err
	}
	host := &b.HostConfig.HostConfig
	c := &engine.Config{}
	for _, translate := range []func() error{
		func() error { return addConfig(c, b.Config) },
		func() error { return addHostConfig(c, host) },
		func() error { return addIsolation(c, host) },
		func() error { return addSecurity(c, host) },
		func() error { return addResources(c, &host.Resources) },
		func() error { return addMounts(c, b.Config, host) },
		func() error { return s.addNetworks(c, b, host) },
	} {
		if err := translate(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// addConfig translates what is the same on every machine.
func addConfig(c *engine.Config, from *container.Config) error {
	if err := refuse("Config", map[string]bool{
		"ArgsEscaped": from.ArgsEscaped, "OnBuild": len(from.OnBuild) > 0, "Shell": len(from.Shell) > 0,
	}); err != nil {
		return err
	}
	c.Image, c.Entrypoint, c.Command, c.Env, c.Dir, c.User = from.Image, from.Entrypoint, from.Cmd, from.Env, from.WorkingDir, from.User
	c.TTY, c.OpenStdin, c.StdinOnce = from.Tty, from.OpenStdin, from.StdinOnce
	c.Hostname, c.Domainname, c.Labels = from.Hostname, from.Domainname, from.Labels
	c.StopSignal, c.StopTimeout, c.Healthcheck = from.StopSignal, from.StopTimeout, (*image.Healthcheck)(from.Healthcheck)
	for p := range from.ExposedPorts {
		c.Expose = append(c.Expose, p.String())
	}
	slices.Sort(c.Expose)
	return nil
}

// addHostConfig translates what is the host's, but for what has a function of its own.
func addHostConfig(c *engine.Config, h *container.HostConfig) error {
	if err := refuse("HostConfig", map[string]bool{
		"Cgroup": h.Cgroup != "", "StorageOpt": len(h.StorageOpt) > 0,
		"Umask": h.Umask != nil, "Isolation": !h.Isolation.IsDefault(),
		"LogConfig.Type: none":            h.LogConfig.Type == "none", // docker run is attached to the log
		"Runtime: " + h.Runtime:           h.Runtime != "" && h.Runtime != runtimeName,
		"VolumeDriver: " + h.VolumeDriver: h.VolumeDriver != "" && h.VolumeDriver != "local",
	}); err != nil {
		return err
	}
	c.RestartPolicy = engine.RestartPolicy{Name: string(h.RestartPolicy.Name), MaximumRetryCount: h.RestartPolicy.MaximumRetryCount}
	c.AutoRemove, c.VolumesFrom, c.Groups = h.AutoRemove, h.VolumesFrom, h.GroupAdd
	c.Links, c.Annotations = h.Links, h.Annotations
	c.LogDriver, c.LogOptions = h.LogConfig.Type, h.LogConfig.Config
	c.DNS, c.DNSSearch, c.DNSOptions, c.ExtraHosts = h.DNS, h.DNSSearch, h.DNSOptions, h.ExtraHosts
	c.PublishAll, c.ReadOnlyRoot, c.ShmSize, c.Sysctls = h.PublishAllPorts, h.ReadonlyRootfs, h.ShmSize, h.Sysctls
	c.Init = h.Init != nil && *h.Init
	if h.OomScoreAdj != 0 {
		c.OOMScoreAdj = &h.OomScoreAdj
	}
	if h.ShmSize < 0 {
		return badRequest("SHM size can not be less than 0")
	}
	return nil
}

func addIsolation(c *engine.Config, h *container.HostConfig) error {
	c.PIDMode, c.IPCMode, c.UTSMode, c.UserMode = string(h.PidMode), string(h.IpcMode), string(h.UTSMode), string(h.UsernsMode)
	c.CgroupNamespace, c.CgroupParent = string(h.CgroupnsMode), h.CgroupParent
	c.Privileged, c.CapAdd, c.CapDrop = h.Privileged, h.CapAdd, h.CapDrop
	// Nil is the default, and what `docker run --security-opt systempaths=unconfined` sends is empty.
	switch masked, readOnly := h.MaskedPaths, h.ReadonlyPaths; {
	case masked == nil && readOnly == nil:
	case masked != nil && readOnly != nil && len(masked)+len(readOnly) == 0:
		c.ShowSystemPaths = true
	case slices.Equal(masked, libcontainer.DefaultMaskedPaths()) && slices.Equal(readOnly, libcontainer.DefaultReadOnlyPaths()):
	case masked != nil:
		return notImplemented("HostConfig.MaskedPaths")
	default:
		return notImplemented("HostConfig.ReadonlyPaths")
	}
	return nil
}

// addSecurity reads HostConfig.SecurityOpt. A seccomp profile comes as its text.
func addSecurity(c *engine.Config, h *container.HostConfig) error {
	for _, option := range h.SecurityOpt {
		name, value, given := strings.Cut(option, "=")
		if !given {
			name, value, given = strings.Cut(option, ":")
		}
		switch {
		case name == "no-new-privileges" && (!given || value == "true"):
			c.NoNewPrivileges = true
		case name == "no-new-privileges" && value == "false":
		case name == "seccomp" && value == "unconfined":
			c.NoSeccomp = true
		case name == "seccomp" && value == "builtin":
		case name == "seccomp" && strings.HasPrefix(strings.TrimSpace(value), "{"):
			profile := libcontainer.Container{Privileged: h.Privileged}
			profile.CapAdd, profile.CapDrop = h.CapAdd, h.CapDrop
			if err := profile.LoadSeccomp([]byte(value)); err != nil {
				return badRequest("HostConfig.SecurityOpt: seccomp profile: %w", err)
			}
			c.Seccomp = profile.Seccomp
		case name == "apparmor" && value != "":
			c.AppArmor = value
		case name == "label" && value == "disable":
		case name == "systempaths" && value == "unconfined":
			c.ShowSystemPaths = true
		case name == "label":
			return notImplemented("HostConfig.SecurityOpt: " + option)
		default:
			return badRequest("invalid --security-opt 2: %q", option)
		}
	}
	return nil
}

// addMounts translates Binds, Tmpfs, Mounts and Volumes.
func addMounts(c *engine.Config, cfg *container.Config, h *container.HostConfig) error {
	targets := make(map[string]bool)
	add := func(m engine.Mount, err error) error {
		c.Mounts, targets[path.Clean(m.Target)] = append(c.Mounts, m), true
		return err
	}
	for _, spec := range h.Binds {
		if strings.HasPrefix(spec, ".") { // of the client's folder, which is not this program's
			return badRequest("invalid volume specification: '%s': the source must be absolute", spec)
		}
		if err := add(engine.ParseVolume(spec)); err != nil {
			return err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(h.Tmpfs)) {
		if err := add(engine.Mount{Type: "tmpfs", Target: target, Options: h.Tmpfs[target]}, nil); err != nil {
			return err
		}
	}
	for i := range h.Mounts {
		m, err := mountOf(&h.Mounts[i])
		if err := add(m, err); err != nil {
			return err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(cfg.Volumes)) {
		if !targets[path.Clean(target)] {
			_ = add(engine.Mount{Type: "volume", Target: target}, nil)
		}
	}
	return nil
}

func mountOf(m *mount.Mount) (engine.Mount, error) {
	to := engine.Mount{Type: string(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	if !slices.Contains([]mount.Consistency{"", mount.ConsistencyDefault, mount.ConsistencyFull, mount.ConsistencyCached, mount.ConsistencyDelegated}, m.Consistency) {
		return to, badRequest("invalid Mounts.Consistency: %s", m.Consistency)
	}
	for kind, given := range map[mount.Type]bool{
		mount.TypeBind: m.BindOptions != nil, mount.TypeVolume: m.VolumeOptions != nil, mount.TypeImage: m.ImageOptions != nil,
		mount.TypeTmpfs: m.TmpfsOptions != nil,
	} {
		if given && m.Type != kind {
			return to, badRequest("invalid mount config for type %q: options of type %q are given", m.Type, kind)
		}
	}
	if m.ClusterOptions != nil {
		return to, notImplemented("HostConfig.Mounts.ClusterOptions")
	}
	if o := m.BindOptions; o != nil {
		to.Propagation, to.MakeSource = string(o.Propagation), o.CreateMountpoint
		switch {
		case o.NonRecursive:
			to.Recursive = "disabled"
		case o.ReadOnlyNonRecursive:
			to.Recursive = "writable"
		case o.ReadOnlyForceRecursive:
			to.Recursive = "readonly"
		}
	}
	if o := m.VolumeOptions; o != nil {
		to.NoCopy, to.Subpath = o.NoCopy, o.Subpath
		if o.DriverConfig != nil || len(o.Labels) > 0 {
			driver, options := "", map[string]string(nil)
			if o.DriverConfig != nil {
				driver, options = o.DriverConfig.Name, o.DriverConfig.Options
			}
			var err error
			if to.Create, err = engine.VolumeOptions(driver, pairs(o.Labels), pairs(options)); err != nil {
				return to, err
			}
		}
	}
	if o := m.ImageOptions; o != nil {
		to.Subpath = o.Subpath
	}
	if o := m.TmpfsOptions; o != nil {
		var options []string
		if o.SizeBytes != 0 {
			options = append(options, fmt.Sprintf("size=%d", o.SizeBytes))
		}
		if o.Mode != 0 {
			options = append(options, fmt.Sprintf("mode=%o", o.Mode))
		}
		for _, option := range o.Options {
			options = append(options, strings.Join(option, "="))
		}
		to.Options = strings.Join(options, ",")
	}
	return to, nil
}

// pairs are the entries of a map as "name=value".
func pairs(m map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, name+"="+m[name])
	}
	return all
}

// addNetworks translates how the container is connected.
func (s *Server) addNetworks(c *engine.Config, b *createBody, h *container.HostConfig) error {
	var err error
	if c.Ports, err = portsOf(h.PortBindings); err != nil {
		return err
	}
	mode := string(h.NetworkMode)
	if b.Config.NetworkDisabled {
		mode = "none"
	}
	mode = cmp.Or(strings.TrimPrefix(mode, "default"), "bridge")
	alone := mode == "none" || mode == "host" || strings.HasPrefix(mode, "container:")
	if !alone {
		mode = s.networkName(mode)
	}
	c.Network = mode
	given := make(map[string]*apinetwork.EndpointSettings)
	if b.NetworkingConfig != nil {
		for name, settings := range b.NetworkingConfig.EndpointsConfig {
			if name == "default" {
				name = "bridge"
			}
			if name != "none" && name != "host" {
				given[s.networkName(name)] = settings
			}
		}
	}
	if alone {
		for name := range given {
			if name != "bridge" || given[name] != nil && (len(given[name].Aliases)+len(given[name].Links) > 0 || given[name].IPAMConfig != nil) {
				return badRequest("conflicting options: network %s and the network mode %s", name, mode)
			}
		}
		if b.MacAddress != "" {
			return badRequest("conflicting options: mac-address and the network mode %s", mode)
		}
		return nil
	}
	var names []string
	if _, ok := given[mode]; ok || len(given) == 0 || mode != "bridge" { // networks that are named are in place of the default
		names = append(names, mode)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if name != mode {
			names = append(names, name)
		}
	}
	for _, name := range names {
		at, err := connectionOf(name, given[name])
		if err != nil {
			return err
		}
		if name == names[0] {
			at.MAC = cmp.Or(at.MAC, b.MacAddress)
		}
		c.Networks = append(c.Networks, *at)
	}
	return nil
}

// networkName is the name of the network that ref names, by its ID or the beginning of that. One that is not there stays as it is.
func (s *Server) networkName(ref string) string {
	if s.Engine == nil || ref == "bridge" {
		return ref
	}
	if n, err := s.Engine.FindNetwork(context.Background(), ref); err == nil {
		return n.Name
	}
	return ref
}

// connectionOf translates the settings of an endpoint. What of them are answers (addresses that it got, IDs) says nothing in a request.
func connectionOf(name string, e *apinetwork.EndpointSettings) (*engine.Connection, error) {
	at := &engine.Connection{Network: name}
	if e == nil {
		return at, nil
	}
	ipam := e.IPAMConfig
	if err := refuse("EndpointSettings", map[string]bool{
		"DriverOpts": len(e.DriverOpts) > 0, "IPAMConfig.LinkLocalIPs": ipam != nil && len(ipam.LinkLocalIPs) > 0,
	}); err != nil {
		return nil, err
	}
	at.Aliases, at.Links, at.GatewayPriority = e.Aliases, e.Links, e.GwPriority
	if ipam != nil {
		at.IPv4, at.IPv6 = ipam.IPv4Address, ipam.IPv6Address
	}
	if len(e.MacAddress) > 0 {
		at.MAC = e.MacAddress.String()
	}
	return at, nil
}

func portsOf(bindings apinetwork.PortMap) (all []network.Port, err error) {
	for p, hosts := range bindings {
		if len(hosts) == 0 {
			hosts = []apinetwork.PortBinding{{}}
		}
		for _, h := range hosts {
			spec := fmt.Sprintf("%s:%s", h.HostPort, p)
			if h.HostPort == "" {
				spec = p.String()
			}
			ports, err := network.ParsePorts(spec)
			if err != nil || len(ports) != 1 {
				return nil, badRequest("invalid HostConfig.PortBindings: %q on %s: %v", h.HostPort, p, err)
			}
			ports[0].Address = h.HostIP
			all = append(all, ports[0])
		}
	}
	slices.SortFunc(all, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host), a.Address.Compare(b.Address))
	})
	return all, nil
}
