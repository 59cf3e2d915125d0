package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/build"
	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
)

// buildFlags are the flags of build.
type buildFlags struct {
	options      build.Options
	file         string
	args, labels []string
	secrets      []string
	quiet        bool
	iidfile      string
	progress     string
	run          runFlags
}

// ofRun are the flags of run that build has, too: they are for the containers of RUN.
var ofRun = []string{
	"memory", "memory-swap", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus", "cpuset-mems", "shm-size", "ulimit", "add-host",
	"cgroup-parent", "network", "security-opt",
}

func (a *app) buildCommand() *cobra.Command {
	b := &buildFlags{}
	c := &cobra.Command{
		Use:                   "build [OPTIONS] PATH | -",
		Short:                 "Build an image from a Dockerfile",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.build(e, b, args[0]) })
		},
	}
	f, o := c.Flags(), &b.options
	f.StringVarP(&b.file, "file", "f", "", "Name of the Dockerfile (default \"PATH/Dockerfile\"); \"-\" is standard input")
	f.StringArrayVarP(&o.Tags, "tag", "t", nil, "Name and optionally a tag (format: \"name:tag\")")
	f.StringArrayVar(&b.args, "build-arg", nil, "Set build-time variables")
	f.StringArrayVar(&b.labels, "label", nil, "Set metadata for an image")
	f.StringArrayVar(&b.secrets, "secret", nil, "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")")
	f.StringVar(&o.Target, "target", "", "Set the target build stage to build")
	f.StringVar(&o.Platform, "platform", "", "Set platform of images that FROM names without one")
	f.BoolVar(&o.NoCache, "no-cache", false, "Do not use cache when building the image")
	f.BoolVar(&o.Pull, "pull", false, "Always attempt to pull a newer version of the image")
	f.BoolVarP(&b.quiet, "quiet", "q", false, "Suppress the build output and print image ID on success")
	f.StringVar(&b.iidfile, "iidfile", "", "Write the image ID to the file")
	f.StringVar(&b.progress, "progress", "auto", "Type of progress output (auto, plain): both are plain")
	f.Bool("compress", false, "Compress the build context: it is read where it is")
	refuseFlag(f, "cache-from", "", "", "the cache is of what was built here")
	refuseFlag(f, "isolation", "", "default", "that is Windows's")
	refuseSwitch(f, "squash", "", false, "image flatten makes one layer of an image's")
	untrusted(f)
	f.Bool("rm", true, "Remove intermediate containers after a successful build: they always are")
	f.Bool("force-rm", false, "Always remove intermediate containers: they always are")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	b.run.add(all)
	for _, name := range ofRun {
		f.AddFlag(all.Lookup(name))
	}
	return c
}

func (a *app) build(e *engine.Engine, b *buildFlags, path string) (err error) {
	o := &b.options
	if b.progress != "auto" && b.progress != "plain" {
		return fmt.Errorf("invalid progress type %q: only auto and plain are implemented", b.progress)
	}
	if err := b.fill(); err != nil {
		return err
	}
	if !b.quiet {
		o.Output = a.stdout
		o.Progress = (&progress{out: a.stderr}).event
	}
	context, release, err := a.buildContext(b, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if b.iidfile != "" {
		if err := os.Remove(b.iidfile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	img, err := build.Build(a.ctx, e, context, o)
	var failed *build.RunError
	if errors.As(err, &failed) {
		return &exitStatus{failed.Code, err}
	}
	if err != nil {
		return err
	}
	return b.tell(a, img)
}

// tell writes the image's ID where it is wanted.
func (b *buildFlags) tell(a *app, img *image.Image) error {
	if b.quiet {
		say(a.stdout, "%s", img.ID)
	}
	if b.iidfile != "" {
		return os.WriteFile(b.iidfile, []byte(img.ID), 0o666)
	}
	return nil
}

// fill puts the flags into the options.
func (b *buildFlags) fill() error {
	o := &b.options
	o.Args, o.Labels, o.Secrets = map[string]string{}, map[string]string{}, map[string][]byte{}
	for _, arg := range b.args {
		v, err := variable(arg)
		if err != nil {
			return err
		}
		if name, value, ok := strings.Cut(v, "="); ok {
			o.Args[name] = value
		}
	}
	for _, l := range b.labels {
		name, value, _ := strings.Cut(l, "=")
		if name == "" {
			return fmt.Errorf("invalid label format: %q", l)
		}
		o.Labels[name] = value
	}
	for _, s := range b.secrets {
		if err := b.secret(s); err != nil {
			return fmt.Errorf("secret %q: %w", s, err)
		}
	}
	if len(b.run.network.networks) > 1 {
		return errors.New("build has one network")
	}
	if err := b.run.fill(); err != nil {
		return err
	}
	o.Container = b.run.config
	return nil
}

// secret reads "id=name,src=file" or "id=name,env=VARIABLE".
func (b *buildFlags) secret(spec string) error {
	var id, file, env string
	for _, f := range strings.Split(spec, ",") {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "id":
			id = value
		case "src", "source":
			file = value
		case "env":
			env = value
		case "type":
			if value != "file" && value != "env" {
				return fmt.Errorf("unsupported type %q", value)
			}
		default:
			return fmt.Errorf("unexpected key %q", key)
		}
	}
	switch {
	case id == "":
		return errors.New("the id is missing")
	case env != "":
		b.options.Secrets[id] = []byte(os.Getenv(env))
		return nil
	case file == "":
		if value, ok := os.LookupEnv(id); ok {
			b.options.Secrets[id] = []byte(value)
			return nil
		}
		file = id
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	b.options.Secrets[id], err = io.ReadAll(io.LimitReader(f, 1<<20))
	return err
}

// maxDockerfile is more than a Dockerfile may have, in bytes.
const maxDockerfile = 2 << 20

// buildContext finds the context and the Dockerfile.
func (a *app) buildContext(b *buildFlags, path string) (_ *build.Context, release func() error, err error) {
	none := func() error { return nil }
	o := &b.options
	switch {
	case path == "-" && b.file == "-":
		return nil, none, errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	case path == "-":
		o.Dockerfile = b.file
		return a.standardInput(o)
	case remote(path):
		return nil, none, fmt.Errorf("unable to prepare context: %q: contexts at addresses are not implemented: %w", path, errors.ErrUnsupported)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, none, fmt.Errorf("unable to prepare context: %w", err)
	}
	if !st.IsDir() {
		return nil, none, fmt.Errorf("unable to prepare context: %q is not a folder", path)
	}
	switch b.file {
	case "":
	case "-":
		o.Content, err = io.ReadAll(io.LimitReader(a.stdin, maxDockerfile))
	default:
		err = b.outside(path)
	}
	return build.Dir(path), none, err
}

// outside finds a Dockerfile that is named by its path on the host: within the context, or elsewhere.
func (b *buildFlags) outside(dir string) error {
	o := &b.options
	root, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	file, err := filepath.Abs(b.file)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	rel, err := filepath.Rel(root, file)
	if err == nil && filepath.IsLocal(rel) {
		o.Dockerfile = filepath.ToSlash(rel)
		return nil
	}
	o.Dockerfile = b.file
	f, err := os.Open(b.file)
	if err != nil {
		return fmt.Errorf("unable to prepare context: unable to evaluate symlinks in Dockerfile path: %w", err)
	}
	defer f.Close()
	o.Content, err = io.ReadAll(io.LimitReader(f, maxDockerfile))
	return err
}

// standardInput is a context's tar stream, or a Dockerfile alone.
func (a *app) standardInput(o *build.Options) (*build.Context, func() error, error) {
	none := func() error { return nil }
	if isTerminal(a.stdin) {
		return nil, none, errors.New("stdin is a terminal: it is neither a context nor a Dockerfile")
	}
	r := bufio.NewReader(a.stdin)
	if build.IsArchive(r) {
		return build.Tar(r), none, nil
	}
	var err error
	o.Content, err = io.ReadAll(io.LimitReader(r, maxDockerfile))
	return nil, none, err
}

// remote says whether Docker would fetch a context, by git or HTTP.
func remote(path string) bool {
	return slices.ContainsFunc([]string{"http://", "https://", "git://", "git@", "ssh://", "github.com/"}, func(p string) bool {
		return strings.HasPrefix(path, p)
	})
}

func (a *app) builderCommand() *cobra.Command {
	c := group("builder", "Manage builds")
	build := a.buildCommand()
	var all, force bool
	var filters []string
	prune := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove build cache", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			if !force && !a.confirm("WARNING! This will remove all build cache.") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				var f *image.Filter
				if len(filters) > 0 {
					var err error
					if f, err = image.ParseFilter(filters); err != nil {
						return err
					}
				}
				removed, err := e.PruneBuildCache(a.ctx, f)
				if removed != nil {
					say(a.stdout, "Total reclaimed space: %s", units.HumanSizeWithPrecision(float64(removed.Bytes), 4))
				}
				return err
			})
		},
	}
	prune.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused build cache: it always is")
	refuseFlag(prune.Flags(), "keep-storage", "", "0", "what is kept is chosen by --filter until=")
	prune.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	prune.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values (e.g. \"until=24h\")")
	c.AddCommand(build, prune)
	return c
}
