package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version, commit := "unknown", "unknown"
			if b, ok := debug.ReadBuildInfo(); ok {
				version = b.Main.Version
				for _, s := range b.Settings {
					if s.Key == "vcs.revision" {
						commit = s.Value
					}
				}
			}
			say(a.stdout, "minidocker, of the container engine caisson")
			say(a.stdout, " Version:           %s", version)
			say(a.stdout, " Go version:        %s", runtime.Version())
			say(a.stdout, " Git commit:        %s", commit)
			say(a.stdout, " OS/Arch:           %s/%s", runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show what the engine holds and what it runs on",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				i, err := e.Info(a.ctx)
				if err != nil {
					return err
				}
				say(a.stdout, "Containers: %d", i.Containers)
				say(a.stdout, " Running: %d", i.Running)
				say(a.stdout, " Created: %d", i.Created)
				say(a.stdout, " Stopped: %d", i.Ended)
				say(a.stdout, "Images: %d", i.Images)
				say(a.stdout, "Storage Driver: overlay")
				say(a.stdout, "Root Dir: %s", i.Root)
				say(a.stdout, "Cgroup Mode: %s", i.CgroupMode)
				say(a.stdout, "Cgroup Manager: %s", i.CgroupManager)
				say(a.stdout, "Networks: bridge macvlan ipvlan none host")
				say(a.stdout, "Kernel Version: %s", i.KernelVersion)
				say(a.stdout, "OSType: %s", i.OSType)
				say(a.stdout, "Architecture: %s", i.Architecture)
				say(a.stdout, "CPUs: %d", i.CPUs)
				for _, s := range i.Support {
					if !s.Available {
						say(a.stdout, "WARNING: no %s: %s", s.Feature, s.Reason)
						if s.Fix != "" {
							say(a.stdout, "         %s", s.Fix)
						}
					}
				}
				return nil
			})
		},
	}
}
