package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/container"
	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/namespace"
)

// The limits of the containers that are compared, in bytes, processes, weight and processors.
const (
	Memory = 512 << 20
	Pids   = 512
	Shares = 1024
	CPUs   = "0-1"
)

// WriteBundle writes an OCI bundle whose config.json asks for what the library gives by default: the same namespaces,
// mounts, masks, capabilities, seccomp profile and limits.
func WriteBundle(dir, rootfs string) error {
	profile, err := seccomp.DefaultProfile(&seccomp.Target{Capabilities: namespace.DefaultCapabilities()})
	if err == nil { // libseccomp takes no two rules of one call that overlap: Docker's one instead
		profile.Syscalls = slices.DeleteFunc(profile.Syscalls, func(s specs.LinuxSyscall) bool { return slices.Contains(s.Names, "socketcall") })
		profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{"socketcall"}, Action: specs.ActAllow})
	}
	if err != nil {
		return err
	}
	caps := namespace.DefaultCapabilities()
	limit, p, sh := int64(Memory), int64(Pids), uint64(Shares)
	strict := []string{"nosuid", "noexec", "nodev"}
	s := specs.Spec{
		Version:  "1.0.2",
		Hostname: "box",
		Root:     &specs.Root{Path: rootfs},
		Process: &specs.Process{
			Args: []string{"/bin/true"}, Env: []string{"PATH=" + namespace.DefaultPath}, Cwd: "/", NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: strict},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{
				Destination: "/dev/pts", Type: "devpts", Source: "devpts",
				Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
			},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=65536k"}, strict...)},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: strict},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, strict...)},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: append([]string{"ro"}, strict...)},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths: container.DefaultMaskedPaths(), ReadonlyPaths: container.DefaultReadOnlyPaths(), Seccomp: profile,
			Resources: &specs.LinuxResources{
				Memory:  &specs.LinuxMemory{Limit: &limit},
				CPU:     &specs.LinuxCPU{Shares: &sh, Cpus: CPUs},
				Pids:    &specs.LinuxPids{Limit: &p},
				Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
			},
		},
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644)
}

// SetCommand changes what the container of a bundle executes.
func SetCommand(dir string, args ...string) error {
	name := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var s specs.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Process.Args = args
	if b, err = json.Marshal(s); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
