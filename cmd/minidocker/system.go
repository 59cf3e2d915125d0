package main

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

func (a *app) systemCommand() *cobra.Command {
	c := group("system", "Manage all of it")
	c.AddCommand(a.systemDFCommand(), a.eventsCommand(), a.infoCommand(), a.systemPruneCommand())
	return c
}

// dfRow is what system df's templates have.
type dfRow struct{ Type, TotalCount, Active, Size, Reclaimable string }

func (a *app) systemDFCommand() *cobra.Command {
	var format string
	var bytes, verbose bool
	c := &cobra.Command{
		Use: "df [OPTIONS]", Short: "Show what images, containers and volumes take on disk", Args: cobra.NoArgs,
		Long: "Show what images, containers and volumes take on disk: blocks, as du counts them, so that the sum is what du says\n" +
			"of the root folder. RECLAIMABLE is what nothing uses.",
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				u, err := e.DiskUsage(a.ctx)
				if err != nil {
					return err
				}
				size := func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 4) }
				if bytes {
					size = func(n int64) string { return fmt.Sprint(n) }
				}
				if verbose {
					return a.printSharing(u, size, format)
				}
				return a.printDF(u, size, format)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "", "Format output by a Go template, \"table TEMPLATE\" or \"json\"")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show each image, and what of it other images need, too")
	c.Flags().BoolVar(&bytes, "bytes", false, "Print sizes as numbers of bytes")
	return c
}

func (a *app) printDF(u *engine.DiskUsage, size func(int64) string, format string) error {
	row := func(kind string, x engine.Usage) any {
		reclaimable := size(x.Reclaimable)
		if x.Size > 0 {
			reclaimable += fmt.Sprintf(" (%d%%)", x.Reclaimable*100/x.Size)
		}
		return dfRow{kind, fmt.Sprint(x.Total), fmt.Sprint(x.Active), size(x.Size), reclaimable}
	}
	list := []any{
		row("Images", u.Images), row("Containers", u.Containers), row("Local Volumes", u.Volumes),
		dfRow{"Other", "", "", size(u.Other), size(0)}, dfRow{"Total", "", "", size(u.Total), ""},
	}
	if format == "" {
		format = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
	}
	f, err := newFormatter(format)
	if err != nil {
		return err
	}
	return f.print(a.stdout, dfRow{"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"}, list)
}

func (a *app) printSharing(u *engine.DiskUsage, size func(int64) string, format string) error {
	var list []any
	for _, i := range u.ByImage {
		for _, row := range rows(i.Image.Summary(), &imagesFlags{}) {
			row.Size, row.SharedSize, row.UniqueSize = size(i.Shared+i.Unique), size(i.Shared), size(i.Unique)
			list = append(list, row)
		}
	}
	if format == "" {
		format = imageTable + "\t{{.SharedSize}}\t{{.UniqueSize}}"
	}
	f, err := newFormatter(format)
	if err != nil {
		return err
	}
	return f.print(a.stdout, imageHeadings, list)
}
