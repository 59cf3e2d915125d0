package dockerapi

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/caisson-engine/caisson/cgroups"
	libcontainer "github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/engine"
)

// configOfContainer is Config as `docker inspect` shows it: with what comes of the image.
func configOfContainer(c *engine.Container) *container.Config {
	cfg := &c.Config
	to := &container.Config{
		Hostname: c.Hostname, Domainname: cfg.Domainname, User: c.User, Tty: cfg.TTY, OpenStdin: cfg.OpenStdin, StdinOnce: cfg.StdinOnce,
		AttachStdin: cfg.StdinOnce, AttachStdout: true, AttachStderr: true,
		Env: c.Env, Cmd: cfg.Command, Image: cfg.Image, WorkingDir: c.Dir, Entrypoint: cfg.Entrypoint, Labels: c.Labels,
		StopSignal: cfg.StopSignal, StopTimeout: cfg.StopTimeout, Healthcheck: (*container.HealthConfig)(c.Healthcheck), Volumes: make(map[string]struct{}),
	}
	if to.Cmd == nil && len(cfg.Entrypoint) == 0 {
		to.Cmd = c.Args
	}
	if to.Labels == nil {
		to.Labels = map[string]string{}
	}
	for _, spec := range c.Exposed {
		if p, err := apinetwork.ParsePort(spec); err == nil {
			if to.ExposedPorts == nil {
				to.ExposedPorts = make(apinetwork.PortSet)
			}
			to.ExposedPorts[p] = struct{}{}
		}
	}
	for _, m := range cfg.Mounts {
		if m.Type == "volume" && m.Source == "" {
			to.Volumes[m.Target] = struct{}{}
		}
	}
	return to
}

// hostConfigOf is the reverse of configOf.
func (s *Server) hostConfigOf(c *engine.Container) *container.HostConfig {
	cfg := &c.Config
	h := &container.HostConfig{
		LogConfig: container.LogConfig{Type: cmp.Or(cfg.LogDriver, "json-file"), Config: cfg.LogOptions}, NetworkMode: container.NetworkMode(cfg.Network),
		RestartPolicy: container.RestartPolicy{
			Name: container.RestartPolicyMode(cmp.Or(cfg.RestartPolicy.Name, engine.RestartNo)), MaximumRetryCount: cfg.RestartPolicy.MaximumRetryCount,
		},
		AutoRemove: cfg.AutoRemove, VolumesFrom: cfg.VolumesFrom, CapAdd: cfg.CapAdd, CapDrop: cfg.CapDrop,
		CgroupnsMode: container.CgroupnsMode(cmp.Or(cfg.CgroupNamespace, "private")), DNS: cfg.DNS, DNSOptions: cfg.DNSOptions, DNSSearch: cfg.DNSSearch,
		ExtraHosts: cfg.ExtraHosts, GroupAdd: cfg.Groups, IpcMode: container.IpcMode(cmp.Or(cfg.IPCMode, "private")), PidMode: container.PidMode(cfg.PIDMode),
		UTSMode: container.UTSMode(cfg.UTSMode), UsernsMode: container.UsernsMode(cfg.UserMode), Privileged: cfg.Privileged,
		PublishAllPorts: cfg.PublishAll, ReadonlyRootfs: cfg.ReadOnlyRoot, ShmSize: cmp.Or(cfg.ShmSize, 64<<20), Sysctls: cfg.Sysctls, Runtime: runtimeName, Annotations: cfg.Annotations,
		MaskedPaths: libcontainer.DefaultMaskedPaths(), ReadonlyPaths: libcontainer.DefaultReadOnlyPaths(), SecurityOpt: securityOf(cfg),
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if cfg.ShowSystemPaths {
		h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
	}
	if cfg.OOMScoreAdj != nil {
		h.OomScoreAdj = *cfg.OOMScoreAdj
	}
	if cfg.Init {
		h.Init = &cfg.Init
	}
	h.PortBindings = make(apinetwork.PortMap)
	for _, p := range cfg.Ports {
		at, ok := apinetwork.PortFrom(p.Container, apinetwork.IPProtocol(cmp.Or(p.Protocol, "tcp")))
		if !ok {
			continue
		}
		host := portText(p.Host)
		if p.HostEnd != 0 {
			host += "-" + portText(p.HostEnd)
		}
		h.PortBindings[at] = append(h.PortBindings[at], apinetwork.PortBinding{HostIP: p.Address, HostPort: host})
	}
	for i := range cfg.Mounts {
		addMountTo(h, &cfg.Mounts[i])
	}
	h.Links = s.linksOf(c)
	h.Resources = resourcesOf(cfg)
	return h
}

// portText is a port, or "" for any.
func portText(p uint16) string {
	if p == 0 {
		return ""
	}
	return strconv.Itoa(int(p))
}

func securityOf(cfg *engine.Config) (all []string) {
	if cfg.NoNewPrivileges {
		all = append(all, "no-new-privileges")
	}
	if cfg.NoSeccomp {
		all = append(all, "seccomp=unconfined")
	}
	if cfg.AppArmor != "" {
		all = append(all, "apparmor="+cfg.AppArmor)
	}
	return all
}

// addMountTo shows a mount: one with a source in the short form, Binds, as far as that can say it.
func addMountTo(h *container.HostConfig, m *engine.Mount) {
	if m.Type == "volume" && m.Source == "" {
		return // it is in Config.Volumes
	}
	short := m.Subpath == "" && m.Create == nil && m.Recursive == ""
	switch {
	case short && (m.Type == "bind" && m.MakeSource || m.Type == "volume"):
		spec := m.Source + ":" + m.Target
		var options []string
		if m.ReadOnly {
			options = append(options, "ro")
		}
		if m.NoCopy {
			options = append(options, "nocopy")
		}
		if m.Propagation != "" {
			options = append(options, m.Propagation)
		}
		if len(options) > 0 {
			spec += ":" + strings.Join(options, ",")
		}
		h.Binds = append(h.Binds, spec)
		return
	case m.Type == "tmpfs" && !m.ReadOnly:
		if h.Tmpfs == nil {
			h.Tmpfs = make(map[string]string)
		}
		h.Tmpfs[m.Target] = m.Options
		return
	}
	to := mount.Mount{Type: mount.Type(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	switch m.Type {
	case "bind":
		if m.Propagation != "" || m.Recursive != "" || m.MakeSource {
			to.BindOptions = &mount.BindOptions{
				Propagation: mount.Propagation(m.Propagation), NonRecursive: m.Recursive == "disabled", CreateMountpoint: m.MakeSource,
				ReadOnlyNonRecursive: m.Recursive == "writable", ReadOnlyForceRecursive: m.Recursive == "readonly",
			}
		}
	case "volume":
		to.VolumeOptions = &mount.VolumeOptions{NoCopy: m.NoCopy, Subpath: m.Subpath}
		if m.Create != nil {
			to.VolumeOptions.Labels = m.Create.Labels
			to.VolumeOptions.DriverConfig = &mount.Driver{Name: m.Create.Driver, Options: m.Create.Options}
		}
	case "image":
		to.ImageOptions = &mount.ImageOptions{Subpath: m.Subpath}
	case "tmpfs":
		to.TmpfsOptions = tmpfsOf(m.Options)
	}
	h.Mounts = append(h.Mounts, to)
}

func tmpfsOf(options string) *mount.TmpfsOptions {
	o := &mount.TmpfsOptions{}
	for option := range strings.SplitSeq(options, ",") {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "":
		case "size":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				o.SizeBytes = n
				continue
			}
			o.Options = append(o.Options, []string{name, value})
		default:
			o.Options = append(o.Options, slices.DeleteFunc([]string{name, value}, func(s string) bool { return s == "" }))
		}
	}
	return o
}

func resourcesOf(cfg *engine.Config) container.Resources {
	r := container.Resources{
		CPUShares: int64(cfg.CPUShares), Memory: cfg.Memory, MemorySwap: cfg.MemorySwap, MemoryReservation: cfg.MemoryReservation,
		NanoCPUs: int64(cfg.CPUs*1e9 + 0.5), CgroupParent: cfg.CgroupParent, CpusetCpus: cfg.CpusetCPUs, CpusetMems: cfg.CpusetMems,
	}
	if cfg.PidsLimit != 0 {
		r.PidsLimit = &cfg.PidsLimit
	}
	for _, u := range cfg.Ulimits {
		r.Ulimits = append(r.Ulimits, &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	for _, d := range cfg.Devices {
		r.Devices = append(r.Devices, container.DeviceMapping{
			PathOnHost: d.Source, PathInContainer: cmp.Or(d.Target, d.Source), CgroupPermissions: cmp.Or(d.Permissions, "rwm"),
		})
	}
	if len(cfg.CDIDevices) > 0 {
		r.DeviceRequests = append(r.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cfg.CDIDevices})
	}
	more := cfg.Resources
	if more == nil {
		return r
	}
	micros := func(d time.Duration) int64 {
		if d == cgroups.Unlimited {
			return -1
		}
		return d.Microseconds()
	}
	r.BlkioWeight, r.OomKillDisable = more.IOWeight, more.OOMKillDisable
	r.CPUQuota, r.CPUPeriod = micros(more.CPUQuota), micros(more.CPUPeriod)
	r.CPURealtimeRuntime, r.CPURealtimePeriod = micros(more.RealtimeRuntime), micros(more.RealtimePeriod)
	if more.Swappiness != nil {
		n := int64(*more.Swappiness)
		r.MemorySwappiness = &n
	}
	for i := range more.IODevices {
		addBlockIOTo(&r, &more.IODevices[i])
	}
	for i, d := range more.Devices {
		if i >= len(cgroups.DefaultDevices()) { // what was asked for is behind what everybody has
			r.DeviceCgroupRules = append(r.DeviceCgroupRules, deviceRuleText(d))
		}
	}
	return r
}

// addBlockIOTo shows the limits of a disk, by the name that the host has for it.
func addBlockIOTo(r *container.Resources, d *cgroups.IODevice) {
	path := blockDevice(d.Major, d.Minor)
	if d.Weight != 0 {
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: path, Weight: d.Weight})
	}
	for _, l := range []struct {
		n  int64
		to *[]*blkiodev.ThrottleDevice
	}{
		{d.ReadBytes, &r.BlkioDeviceReadBps}, {d.WriteBytes, &r.BlkioDeviceWriteBps}, {d.ReadOps, &r.BlkioDeviceReadIOps}, {d.WriteOps, &r.BlkioDeviceWriteIOps},
	} {
		if l.n > 0 {
			*l.to = append(*l.to, &blkiodev.ThrottleDevice{Path: path, Rate: uint64(l.n)})
		}
	}
}

func deviceRuleText(d cgroups.DeviceRule) string {
	number := func(n int64) string {
		if n == cgroups.AnyDevice {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return string(d.Type) + " " + number(d.Major) + ":" + number(d.Minor) + " " + cmp.Or(d.Access, "rwm")
}

// blockDevice is the node of a block device of the host, or its numbers if sysfs does not know it.
func blockDevice(major, minor int64) string {
	numbers := strconv.FormatInt(major, 10) + ":" + strconv.FormatInt(minor, 10)
	if target, err := os.Readlink("/sys/dev/block/" + numbers); err == nil {
		return "/dev/" + filepath.Base(target)
	}
	return numbers
}
