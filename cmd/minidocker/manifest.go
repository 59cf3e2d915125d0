package main

import (
	"encoding/json"
	"errors"
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

func (a *app) manifestCommand() *cobra.Command {
	return group("manifest", "Manage manifests and multi-platform images of registries", a.manifestAnnotateCommand(), a.manifestCreateCommand(),
		a.manifestInspectCommand(), a.manifestPushCommand(), a.manifestRemoveCommand())
}

// withManifests is withEngine for commands that ask registries, of which --insecure may allow one.
func (a *app) withManifests(insecure bool, names []string, f func(*engine.Engine) error) error {
	for _, name := range names {
		if r, err := registry.ParseReference(name); insecure && err == nil {
			a.insecures = append(a.insecures, r.Host)
		}
	}
	return a.withEngine(f)
}

const insecureUsage = "Allow communication with an insecure registry"

func (a *app) manifestCreateCommand() *cobra.Command {
	var amend, insecure bool
	c := &cobra.Command{
		Use: "create MANIFEST_LIST MANIFEST [MANIFEST...]", Short: "Create a local manifest list of images that registries have, which push uploads",
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withManifests(insecure, args, func(e *engine.Engine) error {
				l, err := e.CreateManifestList(a.ctx, args[0], args[1:], amend)
				if err == nil {
					say(a.stdout, "Created manifest list %s", l.Name)
				}
				return err
			})
		},
	}
	c.Flags().BoolVarP(&amend, "amend", "a", false, "Amend an existing manifest list")
	c.Flags().BoolVar(&insecure, "insecure", false, insecureUsage)
	return c
}

func (a *app) manifestAnnotateCommand() *cobra.Command {
	p := ocispec.Platform{}
	c := &cobra.Command{
		Use: "annotate [OPTIONS] MANIFEST_LIST MANIFEST", Short: "Say for what platform an image of a local manifest list is", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return e.AnnotateManifestList(a.ctx, args[0], args[1], p) })
		},
	}
	f := c.Flags()
	f.StringVar(&p.OS, "os", "", "Set operating system")
	f.StringVar(&p.Architecture, "arch", "", "Set architecture")
	f.StringVar(&p.Variant, "variant", "", "Set architecture variant")
	f.StringVar(&p.OSVersion, "os-version", "", "Set operating system version")
	f.StringSliceVar(&p.OSFeatures, "os-features", nil, "Set operating system feature")
	return c
}

func (a *app) manifestPushCommand() *cobra.Command {
	var purge, insecure bool
	c := &cobra.Command{
		Use: "push [OPTIONS] MANIFEST_LIST", Short: "Push a manifest list to a registry", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withManifests(insecure, args, func(e *engine.Engine) error {
				d, err := e.PushManifestList(a.ctx, args[0])
				if err != nil {
					return err
				}
				say(a.stdout, "%s", d)
				if purge {
					return e.RemoveManifestList(a.ctx, args[0])
				}
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&purge, "purge", "p", false, "Remove the local manifest list after push")
	c.Flags().BoolVar(&insecure, "insecure", false, insecureUsage)
	return c
}

func (a *app) manifestRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm MANIFEST_LIST [MANIFEST_LIST...]", Short: "Delete one or more local manifest lists", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error { return e.RemoveManifestList(a.ctx, name) })
			})
		},
	}
}

// A manifestView is what manifest inspect --verbose shows, by docker's names.
type manifestView struct {
	Ref        string
	Descriptor ocispec.Descriptor
	Raw        []byte
	OCI        json.RawMessage `json:"OCIManifest,omitempty"`
	V2         json.RawMessage `json:"SchemaV2Manifest,omitempty"`
}

func (a *app) manifestInspectCommand() *cobra.Command {
	var verbose, insecure bool
	c := &cobra.Command{
		Use: "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST", Short: "Display an image manifest of a registry, or a local manifest list",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withManifests(insecure, args, func(e *engine.Engine) error {
				v, err := a.manifests(e, args, verbose)
				if err != nil {
					return err
				}
				b, err := json.MarshalIndent(v, "", "   ")
				if err != nil {
					return err
				}
				say(a.stdout, "%s", b)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "Output additional info including layers and platform")
	c.Flags().BoolVar(&insecure, "insecure", false, insecureUsage)
	return c
}

// manifests is what is to be shown of a name: of a local list, or of an image of one, or of what a registry has.
func (a *app) manifests(e *engine.Engine, args []string, verbose bool) (any, error) {
	l, err := e.ManifestList(a.ctx, args[0])
	switch {
	case err == nil && len(args) == 1 && !verbose:
		return l.Index(), nil
	case err == nil && len(args) == 1:
		return a.views(e, l.Name, l.Index())
	case errors.Is(err, fs.ErrNotExist) && len(args) == 1:
		i, err := e.RemoteImage(a.ctx, args[0], registry.Credential{})
		switch {
		case err != nil:
			return nil, err
		case !verbose:
			return json.RawMessage(i.Document), nil
		case registry.IsIndex(i.Descriptor.MediaType):
			x := &ocispec.Index{}
			if err := json.Unmarshal(i.Document, x); err != nil {
				return nil, err
			}
			return a.views(e, args[0], x)
		}
		return view(args[0], i), nil
	case err != nil:
		return nil, err
	}
	want, err := registry.ParseReference(args[1])
	if err != nil {
		return nil, err
	}
	for _, m := range l.Manifests {
		if m.Ref == want.String() {
			i, err := e.RemoteImage(a.ctx, m.Ref, registry.Credential{})
			if err != nil {
				return nil, err
			}
			if !verbose {
				return json.RawMessage(i.Document), nil
			}
			return view(m.Ref, i), nil
		}
	}
	return nil, &engine.Error{Kind: engine.NotFound, Message: "No such manifest: " + args[1]}
}

// views are those of an index's images.
func (a *app) views(e *engine.Engine, name string, x *ocispec.Index) ([]*manifestView, error) {
	r, err := registry.ParseReference(name)
	if err != nil {
		return nil, err
	}
	all := []*manifestView{}
	for _, d := range x.Manifests {
		r.Tag, r.Digest = "", d.Digest
		i, err := e.RemoteImage(a.ctx, r.String(), registry.Credential{})
		if err != nil {
			return nil, err
		}
		v := view(r.String(), i)
		v.Descriptor = d
		all = append(all, v)
	}
	return all, nil
}

func view(ref string, i *engine.RemoteImage) *manifestView {
	v := &manifestView{Ref: ref, Descriptor: i.Descriptor, Raw: i.Document}
	if len(i.Platforms) == 1 {
		v.Descriptor.Platform = &i.Platforms[0]
	}
	if i.Descriptor.MediaType == registry.MediaTypeDockerManifest {
		v.V2 = i.Document
	} else {
		v.OCI = i.Document
	}
	return v
}
