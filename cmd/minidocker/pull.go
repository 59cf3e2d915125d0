package main

import (
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

type pullFlags struct {
	platform string
	quiet    bool
	all      bool
	every    bool
	out      *os.File
}

func (a *app) pullCommand() *cobra.Command {
	f := &pullFlags{out: a.stdout}
	c := &cobra.Command{
		Use:                   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short:                 "Download an image from a registry",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				if f.all {
					return a.pullAll(e, args[0], f)
				}
				ref, err := registry.ParseReference(args[0])
				if err != nil {
					return err
				}
				if !f.quiet && ref.Digest == "" && ref.Tag == "latest" && !strings.HasSuffix(args[0], ":latest") {
					say(f.out, "Using default tag: latest")
				}
				if err := a.pull(e, args[0], f); err != nil {
					return err
				}
				say(a.stdout, "%s", ref)
				return nil
			})
		},
	}
	c.Flags().StringVar(&f.platform, "platform", "", "Pull the image for this platform (os/arch[/variant])")
	c.Flags().BoolVar(&f.every, "all-platforms", false, "Pull all platforms, and what else the index lists")
	c.Flags().BoolVarP(&f.all, "all-tags", "a", false, "Download all tagged images in the repository")
	untrusted(c.Flags())
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "Suppress verbose output")
	return c
}

// pull pulls an image and shows how it goes on.
func (a *app) pull(e *engine.Engine, name string, f *pullFlags) error {
	// The windows of zstd are most of the memory, and by default as much again would be left to garbage. With the program itself this
	// is less than 64 MB.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(46 << 20))
	out := io.Writer(f.out)
	if f.quiet {
		out = io.Discard
	}
	p := &progress{out: out, carried: e.Carried(name)}
	if !f.quiet && isTerminal(f.out) {
		p.width = int(sizeOf(f.out).Cols)
	}
	_, err := e.Pull(a.ctx, name, &engine.PullOptions{Platform: f.platform, AllPlatforms: f.every, Progress: p.event})
	return err
}
