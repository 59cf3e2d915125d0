package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// A historyRow is a step of an image, by the names that docker's templates have.
type historyRow struct{ ID, CreatedSince, CreatedAt, CreatedBy, Size, Comment string }

var historyHeadings = historyRow{"IMAGE", "CREATED", "CREATED AT", "CREATED BY", "SIZE", "COMMENT"}

func (a *app) historyCommand() *cobra.Command {
	var noTrunc, quiet, human bool
	var format, platform string
	c := &cobra.Command{
		Use:                   "history [OPTIONS] IMAGE",
		Short:                 "Show the history of an image",
		Args:                  cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				img, err := e.ImageFor(a.ctx, args[0], platform)
				if err != nil {
					return err
				}
				var list []any
				for _, h := range img.History() {
					row := historyRow{ID: "<missing>", CreatedSince: "N/A", CreatedAt: "N/A", CreatedBy: h.CreatedBy, Comment: h.Comment}
					if h.ID != "" {
						row.ID = h.ID.String()
						if !noTrunc {
							row.ID = h.ID.Encoded()[:12]
						}
					}
					if !h.Created.IsZero() {
						row.CreatedSince = engine.Ago(time.Since(h.Created)) + " ago"
						row.CreatedAt = h.Created.Local().Format(time.RFC3339)
					}
					row.CreatedBy = strings.Map(func(r rune) rune {
						if r == '\t' || r == '\n' || r == '\r' {
							return ' '
						}
						return r
					}, row.CreatedBy)
					if r := []rune(row.CreatedBy); !noTrunc && len(r) > 45 {
						row.CreatedBy = string(r[:44]) + "…"
					}
					row.Size = units.HumanSizeWithPrecision(float64(h.Size), 3)
					if !human {
						row.Size = strconv.FormatInt(h.Size, 10)
					}
					list = append(list, row)
				}
				switch {
				case quiet && format == "":
					format = "{{.ID}}"
				case !human && (format == "" || format == "table"):
					format = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
				case format == "" || format == "table":
					format = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
				}
				p, err := newFormatter(format)
				if err != nil {
					return err
				}
				return p.print(a.stdout, historyHeadings, list)
			})
		},
	}
	c.Flags().BoolVarP(&human, "human", "H", true, "Print sizes and dates in human readable format")
	c.Flags().BoolVar(&noTrunc, "no-trunc", false, "Don't truncate output")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only show image IDs")
	c.Flags().StringVar(&platform, "platform", "", "Show history for the given platform (os/arch[/variant])")
	c.Flags().StringVar(&format, "format", "", "Format output by a Go template, \"table TEMPLATE\" or \"json\"")
	return c
}
