package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/dockerapi"
	"github.com/caisson-engine/caisson/engine"
)

// A versions is what version's templates have.
type versions struct {
	Client struct {
		Version              string
		APIVersion           string `json:"ApiVersion"`
		GoVersion, GitCommit string
		Os, Arch             string
	}
	Server *system.VersionResponse
}

// built is what this program was built of.
func built() (version, commit string) {
	version, commit = "unknown", "unknown"
	if b, ok := debug.ReadBuildInfo(); ok {
		version = b.Main.Version
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, commit
}

// versionLine is what --version prints.
func versionLine() string {
	version, commit := built()
	return fmt.Sprintf("minidocker version %s, build %s\n", version, commit)
}

func (a *app) versionCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var v versions
			c := &v.Client
			c.Version, c.GitCommit = built()
			c.APIVersion, c.GoVersion, c.Os, c.Arch = dockerapi.MaxVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH
			if format == "" {
				say(a.stdout, "minidocker, of the container engine caisson")
				say(a.stdout, " Version:           %s", c.Version)
				say(a.stdout, " API version:       %s", c.APIVersion)
				say(a.stdout, " Go version:        %s", c.GoVersion)
				say(a.stdout, " Git commit:        %s", c.GitCommit)
				say(a.stdout, " OS/Arch:           %s/%s", c.Os, c.Arch)
				return nil
			}
			p, err := newFormatter(format)
			if err != nil {
				return err
			}
			if err := a.api(nil).get("/version", nil, &v.Server); err != nil { // it asks nothing of an engine
				return err
			}
			return p.print(a.stdout, nil, []any{v})
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output by a Go template, or \"json\"")
	return c
}

func (a *app) infoCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "info",
		Short: "Show what the engine holds and what it runs on",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				if format != "" {
					d := &document{typed: &system.Info{}}
					if err := a.api(e).get("/info", nil, &d.raw); err != nil {
						return err
					}
					return errors.Join(json.Unmarshal(d.raw, d.typed), a.printDocuments(format, []document{*d}))
				}
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
	c.Flags().StringVarP(&format, "format", "f", "", "Format output of the API's document by a Go template, or \"json\"")
	return c
}
