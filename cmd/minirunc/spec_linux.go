package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/caisson-engine/caisson/cgroups"
	lib "github.com/caisson-engine/caisson/container"
)

var specVerb = verb{
	name: "spec", args: "[options]",
	about: "write a config.json to start from",
	run:   (*command).spec,
}

func (c *command) spec(args []string) error {
	f := c.flags("spec")
	var dir string
	f.StringVar(&dir, "bundle", "", "`folder` to write it into (default: the working directory)")
	f.StringVar(&dir, "b", "", "`folder` to write it into (default: the working directory)")
	rootless := f.Bool("rootless", false, "for an ordinary user")
	if err := c.parse(f, args, 0, 0); err != nil {
		return err
	}
	s := exampleSpec()
	if *rootless {
		makeRootless(s)
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "config.json")
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		//lint:ignore ST1005 runc's words
		return fmt.Errorf("File %s exists. Remove it first", name)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return errors.Join(err, out.Close())
}

// exampleSpec is a container that runs a shell on a terminal, with as little as it needs.
func exampleSpec() *specs.Spec {
	capabilities := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	s := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: "minirunc",
		Process: &specs.Process{
			Terminal:        true,
			Args:            []string{"sh"},
			Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
			Cwd:             "/",
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: capabilities, Permitted: capabilities, Effective: capabilities},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			exampleMount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
			exampleMount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
			exampleMount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
			exampleMount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
			exampleMount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
			exampleMount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
		},
		Linux: &specs.Linux{
			MaskedPaths:   lib.DefaultMaskedPaths(),
			ReadonlyPaths: lib.DefaultReadOnlyPaths(),
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
			},
		},
	}
	if m, err := cgroups.Detect(); err == nil {
		if m.Mode() == cgroups.V2 {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		}
		_ = m.Close()
	}
	return s
}

func exampleMount(target, kind, source, options string) specs.Mount {
	return specs.Mount{Destination: target, Type: kind, Source: source, Options: strings.Split(options, ",")}
}

// makeRootless changes s into what an ordinary user can run: in a user namespace in which the user is root, with the host's
// network and without limits.
func makeRootless(s *specs.Spec) {
	l := s.Linux
	l.Namespaces = slices.DeleteFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
	l.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
	l.Resources = nil
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Destination == "/sys" { // a sysfs takes a network namespace of the container's own
			*m = exampleMount("/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro")
		}
		// Ids other than the user's are not mapped.
		m.Options = slices.DeleteFunc(m.Options, func(o string) bool {
			return strings.HasPrefix(o, "uid=") || strings.HasPrefix(o, "gid=")
		})
	}
}
