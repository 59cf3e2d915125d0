package main

import (
	"runtime/debug"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

type imagesFlags struct {
	quiet, noTrunc, digests, all bool
	filters                      []string
	format                       string
}

func (a *app) imagesCommand() *cobra.Command {
	f := &imagesFlags{}
	c := &cobra.Command{
		Use:                   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short:                 "List images",
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.images(e, f, args) })
		},
	}
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "Only show image IDs")
	c.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "Don't truncate output")
	c.Flags().BoolVar(&f.digests, "digests", false, "Show digests")
	c.Flags().BoolVarP(&f.all, "all", "a", false, "Show all images (there are no hidden ones)")
	c.Flags().StringArrayVarP(&f.filters, "filter", "f", nil,
		"Filter output: dangling=, label=name[=value], before=, since=, reference=, until=")
	refuseSwitch(c.Flags(), "tree", "", false, "docker calls it experimental; images --filter and system df -v show what images share")
	c.Flags().StringVar(&f.format, "format", "", "Format output by a Go template, \"table TEMPLATE\" or \"json\"")
	return c
}

// An imageRow is a name of an image, taken apart, by the names that docker's templates have.
type imageRow struct {
	Repository, Tag, Digest, ID, CreatedSince, CreatedAt, Size string
	Containers, SharedSize, UniqueSize, VirtualSize            string // system df -v knows them
}

var imageHeadings = imageRow{
	"REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "CREATED AT", "SIZE", "CONTAINERS", "SHARED SIZE", "UNIQUE SIZE", "VIRTUAL SIZE",
}

const (
	imageTable        = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	imageDigestsTable = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
)

func (a *app) images(e *engine.Engine, f *imagesFlags, args []string) error {
	// What a long list takes is garbage when the program ends, a few milliseconds on: half of them would go into collecting it.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	filter, err := image.ParseFilter(f.filters)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		filter.References = append(filter.References, args[0])
	}
	list, err := e.SearchImages(a.ctx, filter)
	if err != nil {
		return err
	}
	var all []any
	shown := make(map[string]bool)
	for _, img := range list {
		for _, row := range rows(img, f) {
			if f.quiet && shown[row.ID] {
				continue
			}
			shown[row.ID] = true
			all = append(all, row)
		}
	}
	format := f.format
	switch {
	case f.quiet && format == "":
		format = "{{.ID}}"
	case f.digests && format == "":
		format = imageDigestsTable
	case format == "" || format == "table":
		format = imageTable
	}
	p, err := newFormatter(format)
	if err != nil {
		return err
	}
	return p.print(a.stdout, imageHeadings, all)
}

// rows takes the names of an image apart: one row a name, and one for an image without.
func rows(img *image.Summary, f *imagesFlags) []imageRow {
	row := imageRow{
		Repository: "<none>", Tag: "<none>", Digest: "<none>", ID: img.ID.String(), CreatedSince: "N/A", CreatedAt: "N/A",
		Size: units.HumanSizeWithPrecision(float64(img.Size), 3), Containers: "N/A", SharedSize: "N/A", UniqueSize: "N/A",
	}
	row.VirtualSize = row.Size
	if !f.noTrunc {
		row.ID = img.ID.Encoded()[:12]
	}
	if !img.Created.IsZero() {
		row.CreatedSince = engine.Ago(time.Since(img.Created)) + " ago"
		row.CreatedAt = img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
	}
	var all []imageRow
	for _, name := range img.Names {
		r, err := registry.ParseReference(name)
		if err != nil {
			continue
		}
		named := row
		named.Repository, named.Digest = r.FamiliarName(), img.Digest.String()
		if r.Tag != "" {
			named.Tag = r.Tag
		}
		all = append(all, named)
	}
	if len(all) == 0 {
		row.Digest = img.Digest.String()
		all = append(all, row)
	}
	return all
}
