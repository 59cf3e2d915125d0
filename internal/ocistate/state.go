package ocistate

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A State is what state.json says. The names of the fields are runc's, for the tools that read those.
type State struct {
	ID string `json:"id"`
	// InitProcessPid is the container's first process, and InitProcessStart when it started, in clock ticks since boot: see
	// [StartTime].
	InitProcessPid   int    `json:"init_process_pid"`
	InitProcessStart uint64 `json:"init_process_start"`
	// Created is when the container was, in UTC.
	Created time.Time `json:"created"`
	Config  Config    `json:"config"`

	Rootless bool `json:"rootless"`
	// CgroupPaths are the directories of the control group by controller, v1's named ones as "name=systemd", the unified
	// one as "".
	CgroupPaths map[string]string `json:"cgroup_paths"`
	// NamespacePaths are the files of the namespaces in /proc.
	NamespacePaths map[string]string `json:"namespace_paths"`
	// ExternalDescriptors are what the first process's standard files are.
	ExternalDescriptors []string `json:"external_descriptors"`
	IntelRdtPath        string   `json:"intel_rdt_path"`

	// What runc's does not have.

	// BootID is the run of the kernel that InitProcessPid belongs to; empty if that is not known.
	BootID      string            `json:"boot_id"`
	OCIVersion  string            `json:"oci_version"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// Group are the folders of the control group: cgroups.Group.Paths.
	Group []string `json:"group,omitempty"`
	// Scope is systemd's unit, if it made the group.
	Scope string `json:"scope,omitempty"`
	// ScopeInvocation is systemd's number for this run of the unit, that of cgroups.Scope.
	ScopeInvocation string `json:"scope_invocation,omitempty"`
	// Poststop are hooks that delete runs, when the configuration may be gone.
	Poststop []specs.Hook `json:"poststop,omitempty"`
	// NoStartHooks says that there are none that start runs, so that it need not read the configuration.
	NoStartHooks bool `json:"no_start_hooks,omitempty"`

	dir string
}

// A Config is the part of runc's that tools look at.
type Config struct {
	Rootfs       string      `json:"rootfs"`
	ReadonlyFS   bool        `json:"readonlyfs"`
	Hostname     string      `json:"hostname"`
	Namespaces   []Namespace `json:"namespaces"`
	Cgroups      Cgroups     `json:"cgroups"`
	UIDMappings  []IDMap     `json:"uid_mappings"`
	GIDMappings  []IDMap     `json:"gid_mappings"`
	Version      string      `json:"version"`
	Labels       []string    `json:"labels"` // annotations as "name=value", and the bundle
	RootlessEUID bool        `json:"rootless_euid,omitempty"`
	NoNewPrivs   bool        `json:"no_new_privileges"`
	Hooks        *Hooks      `json:"Hooks,omitempty"` // only in runc's
}

// Hooks are those of runc's that may be still to run.
type Hooks struct {
	Poststop []struct {
		Path    string         `json:"path"`
		Args    []string       `json:"args"`
		Env     []string       `json:"env"`
		Timeout *time.Duration `json:"timeout"`
	} `json:"poststop"`
}

// A Namespace is one that the container has of its own: new without a path, else joined.
type Namespace struct {
	Type string `json:"type"` // "NEWPID"
	Path string `json:"path"`
}

// An IDMap is a part of a user namespace's map.
type IDMap struct {
	ContainerID int64 `json:"container_id"`
	HostID      int64 `json:"host_id"`
	Size        int64 `json:"size"`
}

// Cgroups are the control group and its limits.
type Cgroups struct {
	Name    string `json:"name"`
	Parent  string `json:"parent"`
	Path    string `json:"path"`
	Systemd bool   `json:"Systemd"`

	Memory            int64  `json:"memory"`
	MemoryReservation int64  `json:"memory_reservation"`
	MemorySwap        int64  `json:"memory_swap"`
	CPUShares         uint64 `json:"cpu_shares"`
	CPUQuota          int64  `json:"cpu_quota"`
	CPUPeriod         uint64 `json:"cpu_period"`
	CpusetCPUs        string `json:"cpuset_cpus"`
	CpusetMems        string `json:"cpuset_mems"`
	PidsLimit         int64  `json:"pids_limit"`
	BlkioWeight       uint16 `json:"blkio_weight"`
}

// clone flags by the specification's names, and what /proc/PID/ns calls them.
var namespaces = []struct {
	spec  specs.LinuxNamespaceType
	clone string
	proc  string
}{
	{specs.PIDNamespace, "NEWPID", "pid"}, {specs.NetworkNamespace, "NEWNET", "net"}, {specs.MountNamespace, "NEWNS", "mnt"},
	{specs.IPCNamespace, "NEWIPC", "ipc"}, {specs.UTSNamespace, "NEWUTS", "uts"}, {specs.UserNamespace, "NEWUSER", "user"},
	{specs.CgroupNamespace, "NEWCGROUP", "cgroup"}, {specs.TimeNamespace, "NEWTIME", "time"},
}

// New returns the state of a container with that configuration and bundle, an absolute path, whose process is not there
// yet.
func New(id, bundle string, spec *specs.Spec) *State {
	s := &State{
		ID: id, Created: time.Now().UTC(), BootID: bootID(), OCIVersion: spec.Version, Bundle: bundle, Annotations: spec.Annotations,
	}
	s.NoStartHooks = true
	if h := spec.Hooks; h != nil {
		s.Poststop, s.NoStartHooks = h.Poststop, len(h.StartContainer)+len(h.Poststart) == 0
	}
	c := &s.Config
	c.Version = spec.Version
	if spec.Root != nil {
		if c.Rootfs = spec.Root.Path; !strings.HasPrefix(c.Rootfs, "/") {
			c.Rootfs = strings.TrimSuffix(bundle, "/") + "/" + c.Rootfs
		}
		c.ReadonlyFS = spec.Root.Readonly
	}
	c.Hostname = spec.Hostname
	if spec.Process != nil {
		c.NoNewPrivs = spec.Process.NoNewPrivileges
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Annotations)) {
		c.Labels = append(c.Labels, name+"="+spec.Annotations[name])
	}
	c.Labels = append(c.Labels, "bundle="+bundle)
	if l := spec.Linux; l != nil {
		s.fromLinux(l)
	}
	return s
}

func (s *State) fromLinux(l *specs.Linux) {
	c := &s.Config
	for _, n := range l.Namespaces {
		for _, known := range namespaces {
			if n.Type == known.spec {
				c.Namespaces = append(c.Namespaces, Namespace{known.clone, n.Path})
			}
		}
	}
	maps := func(list []specs.LinuxIDMapping) (all []IDMap) {
		for _, m := range list {
			all = append(all, IDMap{int64(m.ContainerID), int64(m.HostID), int64(m.Size)})
		}
		return all
	}
	c.UIDMappings, c.GIDMappings = maps(l.UIDMappings), maps(l.GIDMappings)
	c.Cgroups.Path = l.CgroupsPath
	c.Cgroups.Note(l.Resources)
}

// Note takes over the limits that r sets.
func (c *Cgroups) Note(r *specs.LinuxResources) {
	if r == nil {
		return
	}
	if m := r.Memory; m != nil {
		note(&c.Memory, m.Limit)
		note(&c.MemoryReservation, m.Reservation)
		note(&c.MemorySwap, m.Swap)
	}
	if p := r.CPU; p != nil {
		note(&c.CPUShares, p.Shares)
		note(&c.CPUQuota, p.Quota)
		note(&c.CPUPeriod, p.Period)
		if p.Cpus != "" {
			c.CpusetCPUs = p.Cpus
		}
		if p.Mems != "" {
			c.CpusetMems = p.Mems
		}
	}
	if r.Pids != nil {
		note(&c.PidsLimit, r.Pids.Limit)
	}
	if r.BlockIO != nil {
		note(&c.BlkioWeight, r.BlockIO.Weight)
	}
}

func note[T comparable](to, from *T) {
	var zero T
	if from != nil && *from != zero {
		*to = *from
	}
}

// SetProcess notes the container's first process, which is there and belongs to the caller.
func (s *State) SetProcess(pid int) error {
	start, err := StartTime(pid)
	if err != nil {
		return err
	}
	s.InitProcessPid, s.InitProcessStart = pid, start
	s.NamespacePaths = make(map[string]string)
	for _, n := range namespaces {
		s.NamespacePaths[n.clone] = fmt.Sprintf("/proc/%d/ns/%s", pid, n.proc)
	}
	for _, n := range s.Config.Namespaces {
		if n.Path != "" {
			s.NamespacePaths[n.Type] = n.Path
		}
	}
	s.ExternalDescriptors = nil
	for fd := range 3 {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil {
			name = os.DevNull
		}
		s.ExternalDescriptors = append(s.ExternalDescriptors, name)
	}
	return nil
}

// Dir is the container's folder.
func (s *State) Dir() string { return s.dir }

// OwnPIDNamespace says whether the container's processes end with its first one: it has a new PID namespace.
func (s *State) OwnPIDNamespace() bool {
	return slices.ContainsFunc(s.Config.Namespaces, func(n Namespace) bool { return n.Type == "NEWPID" && n.Path == "" })
}

// complete fills in what a state.json does not have that runc has written: it updated the container, or has made it. So
// containers need not end where one takes the other's place.
func (s *State) complete() {
	if s.OCIVersion != "" {
		return
	}
	c := &s.Config
	s.OCIVersion = c.Version
	for _, l := range c.Labels {
		name, value, _ := strings.Cut(l, "=")
		if name == "bundle" {
			s.Bundle = value
			continue
		}
		if s.Annotations == nil {
			s.Annotations = make(map[string]string)
		}
		s.Annotations[name] = value
	}
	s.Group = slices.Compact(slices.Sorted(maps.Values(s.CgroupPaths)))
	if c.Hooks == nil {
		return
	}
	for _, h := range c.Hooks.Poststop {
		hook := specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env}
		if h.Timeout != nil && *h.Timeout > 0 {
			seconds := int((*h.Timeout-1)/time.Second) + 1
			hook.Timeout = &seconds
		}
		s.Poststop = append(s.Poststop, hook)
	}
	c.Hooks = nil
}
