package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// imageDocument is what docker image inspect prints of an image.
type imageDocument struct {
	ID           digest.Digest `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Parent       string
	Comment      string
	Created      string `json:",omitempty"`
	Author       string
	Config       json.RawMessage
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	GraphDriver  struct {
		Data map[string]string
		Name string
	}
	RootFS struct {
		Type   string
		Layers []digest.Digest
	}
}

func newImageDocument(img *image.Image) (*imageDocument, error) {
	d := &imageDocument{
		ID: img.ID, RepoTags: []string{}, RepoDigests: []string{}, Author: img.Config.Author,
		Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS, Size: img.Size,
	}
	for _, n := range img.Names {
		r, err := registry.ParseReference(n)
		if err != nil {
			continue
		}
		if r.Tag != "" {
			d.RepoTags = append(d.RepoTags, r.Familiar())
		}
		if by := r.FamiliarName() + "@" + img.Digest.String(); !slices.Contains(d.RepoDigests, by) {
			d.RepoDigests = append(d.RepoDigests, by)
		}
	}
	if !img.Created.IsZero() {
		d.Created = img.Created.Format(time.RFC3339Nano)
	}
	if h := img.History(); len(h) > 0 {
		d.Comment = h[0].Comment
	}
	var raw struct {
		Config json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(img.ConfigJSON, &raw); err != nil {
		return nil, err
	}
	if d.Config = raw.Config; len(d.Config) == 0 {
		d.Config = json.RawMessage("{}")
	}
	d.RootFS.Type, d.RootFS.Layers = img.Config.RootFS.Type, img.Config.RootFS.DiffIDs
	d.GraphDriver.Name, d.GraphDriver.Data = "overlay", map[string]string{}
	var dirs []string
	for _, l := range slices.Backward(img.Layers) {
		dirs = append(dirs, cmp.Or(l.Dir, l.Image))
	}
	if len(dirs) > 0 {
		d.GraphDriver.Data["LowerDir"] = strings.Join(dirs, ":")
	}
	return d, nil
}

func (a *app) imageInspectCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:                   "inspect [OPTIONS] IMAGE [IMAGE...]",
		Short:                 "Display detailed information on one or more images",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				list := []any{}
				err := a.each(args, func(name string) error {
					d, err := a.imageDocument(e, name)
					if err == nil {
						list = append(list, d)
					}
					return err
				})
				return errors.Join(a.printDocuments(format, list), err)
			})
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output by a Go template or \"json\"")
	return c
}

func (a *app) imageDocument(e *engine.Engine, name string) (*imageDocument, error) {
	img, err := e.Image(a.ctx, name)
	if err != nil {
		return nil, err
	}
	return newImageDocument(img)
}

// printDocuments prints documents as a JSON array, or each by a template.
func (a *app) printDocuments(format string, list []any) error {
	if format == "" {
		return a.printJSON(list)
	}
	p, err := newFormatter(format)
	if err != nil {
		return err
	}
	return p.print(a.stdout, nil, list)
}

func (a *app) imagePruneCommand() *cobra.Command {
	var all, force bool
	var filters []string
	c := &cobra.Command{
		Use:                   "prune [OPTIONS]",
		Short:                 "Remove unused images",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			f, err := image.ParseFilter(filters)
			if err != nil {
				return err
			}
			if f.Dangling != nil { // as docker's has it
				all = all || !*f.Dangling
				f.Dangling = nil
			}
			what := "all dangling images"
			if all {
				what = "all images without at least one container associated to them"
			}
			if !force && !a.confirm("WARNING! This will remove "+what+".") {
				return nil
			}
			return a.withEngine(func(e *engine.Engine) error {
				removed, err := e.PruneImages(a.ctx, all, f)
				if err != nil {
					return err
				}
				if len(removed.Untagged)+len(removed.Deleted) > 0 {
					say(a.stdout, "Deleted Images:")
				}
				for _, n := range removed.Untagged {
					say(a.stdout, "untagged: %s", familiar(n))
				}
				for _, d := range removed.Deleted {
					say(a.stdout, "deleted: %s", d)
				}
				if len(removed.Untagged)+len(removed.Deleted) > 0 {
					say(a.stdout, "")
				}
				say(a.stdout, "Total reclaimed space: %s", units.HumanSize(float64(removed.Bytes)))
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Remove all unused images, not just dangling ones")
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: until=<timestamp>, label=<key>[=<value>], label!=…")
	return c
}

// confirm asks, and is true for a "y".
func (a *app) confirm(warning string) bool {
	say(a.stdout, "%s", warning)
	_, _ = a.stdout.WriteString("Are you sure you want to continue? [y/N] ")
	answer, _ := a.readLine()
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

// readLine reads one line of standard input, and nothing after it.
func (a *app) readLine() (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < 1<<16 {
		n, err := a.stdin.Read(b)
		if n == 0 || b[0] == '\n' {
			return string(line), err
		}
		line = append(line, b[0])
	}
	return string(line), fs.ErrInvalid
}
