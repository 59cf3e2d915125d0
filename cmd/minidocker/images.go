package main

import (
	"fmt"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

type imagesFlags struct{ quiet, noTrunc, digests bool }

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
	return c
}

// An imageRow is a name of an image, taken apart.
type imageRow struct{ name, repository, tag, digest string }

func (a *app) images(e *engine.Engine, f *imagesFlags, args []string) error {
	list, err := e.Images(a.ctx)
	if err != nil {
		return err
	}
	w := table(a.stdout)
	if !f.quiet {
		fmt.Fprint(w, "REPOSITORY\tTAG\t")
		if f.digests {
			fmt.Fprint(w, "DIGEST\t")
		}
		fmt.Fprintln(w, "IMAGE ID\tCREATED\tSIZE")
	}
	shown := make(map[string]bool)
	for _, img := range list {
		id := img.ID.String()
		if !f.noTrunc {
			id = img.ID.Encoded()[:12]
		}
		for _, row := range rows(img) {
			if len(args) > 0 && args[0] != row.repository && args[0] != row.name && familiar(args[0]) != row.name {
				continue
			}
			if f.quiet {
				if !shown[id] {
					fmt.Fprintln(w, id)
				}
				shown[id] = true
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t", row.repository, row.tag)
			if f.digests {
				fmt.Fprintf(w, "%s\t", row.digest)
			}
			created := "N/A"
			if !img.Created.IsZero() {
				created = engine.Ago(time.Since(img.Created)) + " ago"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", id, created, units.HumanSizeWithPrecision(float64(img.Size), 3))
		}
	}
	return w.Flush()
}

// rows takes the names of an image apart: one row a name, and one for an image without.
func rows(img *image.Image) []imageRow {
	var all []imageRow
	for _, name := range img.Names {
		r, err := registry.ParseReference(name)
		if err != nil {
			continue
		}
		row := imageRow{name: r.Familiar(), repository: r.FamiliarName(), tag: r.Tag, digest: img.Digest.String()}
		if row.tag == "" {
			row.tag = "<none>"
		}
		all = append(all, row)
	}
	if len(all) == 0 {
		all = append(all, imageRow{repository: "<none>", tag: "<none>", digest: img.Digest.String()})
	}
	return all
}
