package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/container/cdi"
	"github.com/caisson-engine/caisson/engine"
)

// isolationFlags are those of namespaces and devices that are not a field of engine.Config as they stand.
type isolationFlags struct{ devices []string }

func (r *runFlags) addIsolation(f *pflag.FlagSet) {
	i := &r.config.Isolation
	f.StringVar(&i.PIDMode, "pid", "", `PID namespace to use ("host", "private", "container:NAME")`)
	f.StringVar(&i.IPCMode, "ipc", "", `IPC mode to use ("host", "private", "shareable", "none", "container:NAME")`)
	f.StringVar(&i.UTSMode, "uts", "", `UTS namespace to use ("host", "private")`)
	f.StringVar(&i.UserMode, "userns", "", `User namespace to use ("host", "auto", "keep-id[:uid=UID,gid=GID]")`)
	f.StringVar(&i.Domainname, "domainname", "", "Container NIS domain name")
	f.StringArrayVar(&r.gpus, "gpus", nil, "GPU devices to add to the container ('all' to pass all GPUs), as CDI describes them")
	f.StringArrayVar(&r.devices, "device", nil, "Add a host device to the container")
}

func (r *runFlags) fillIsolation() error {
	for _, spec := range r.gpus {
		g, err := engine.ParseGPUs(spec)
		if err != nil {
			return err
		}
		names, err := g.CDI()
		if err != nil {
			return err
		}
		r.config.CDIDevices = append(r.config.CDIDevices, names...)
	}
	for _, spec := range r.devices {
		if cdi.IsName(spec) {
			r.config.CDIDevices = append(r.config.CDIDevices, spec)
			continue
		}
		all, err := engine.ParseDevice(spec)
		if err != nil {
			return err
		}
		r.config.Devices = append(r.config.Devices, all...)
	}
	return nil
}

// isolationOption is a --security-opt about labels and paths.
func (r *runFlags) isolationOption(option, name, value string) error {
	i := &r.config.Isolation
	switch {
	case name == "apparmor" && value != "":
		i.AppArmor = value
	case name == "systempaths" && value == "unconfined":
		i.ShowSystemPaths = true
	case name == "label" && value == "disable":
		i.SELinux, i.MountLabel = "", ""
	case name == "label":
		return fmt.Errorf("--security-opt %s is not implemented: only label=disable is: %w", option, errors.ErrUnsupported)
	default:
		return fmt.Errorf("invalid --security-opt: %q (no-new-privileges, seccomp, apparmor, label and systempaths are there)", option)
	}
	return nil
}
