package main

import (
	"encoding/json"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/caisson-engine/caisson/internal/seccomp"
	"github.com/caisson-engine/caisson/namespace"
)

var featuresVerb = verb{
	name:  "features",
	about: "print what is supported",
	run:   (*command).features,
}

func (c *command) features(args []string) error {
	if err := c.parse(c.flags("features"), args, 0, 0); err != nil {
		return err
	}
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "    ")
	return e.Encode(allFeatures())
}

// allFeatures is what minirunc knows of a configuration, whatever this machine can do.
func allFeatures() *features.Features {
	yes, no := true, false
	known := seccomp.Knows(runtime.GOARCH)
	modes, flags := namespace.MemoryPolicies()
	var capabilities []string
	for n := namespace.Capability(0); namespace.KnownCapabilities>>n != 0; n++ {
		capabilities = append(capabilities, n.String())
	}
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Annotations: map[string]string{
			"io.github.caisson-engine.minirunc.version":      version,
			"io.github.caisson-engine.minirunc.checkpointed": "false",
		},
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions: namespace.MountOptions(),
		Linux: &features.Linux{
			Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Capabilities: capabilities,
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: known.Actions, Operators: known.Operators, Archs: known.Archs, KnownFlags: known.Flags,
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &no, Schemata: &no, Monitoring: &no},
			MemoryPolicy:    &features.MemoryPolicy{Modes: modes, Flags: flags},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
	}
}
