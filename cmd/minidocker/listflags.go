package main

import (
	"net/url"

	"github.com/spf13/cobra"
)

// listFlags are the flags of commands that list what the API says.
type listFlags struct {
	quiet   bool
	format  string
	filters []string
}

func (f *listFlags) add(c *cobra.Command, quiet, filters string) {
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, quiet)
	c.Flags().StringVar(&f.format, "format", "", "Format output by a Go template: 'table', 'table TEMPLATE', 'json' or a TEMPLATE")
	c.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, filters)
}

// read returns what prints the list, and what to ask for: name is the template of --quiet, table that without --format.
func (f *listFlags) read(name, table string) (*formatter, url.Values, error) {
	format := f.format
	switch {
	case f.quiet && format == "":
		format = name
	case format == "" || format == "table":
		format = "table " + table
	}
	p, err := newFormatter(format)
	if err != nil {
		return nil, nil, err
	}
	q, err := filterQuery(f.filters)
	return p, q, err
}
