package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// table writes columns as wide as need be, three spaces apart.
func table(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 10, 1, 3, ' ', 0) }

type psFlags struct {
	all, quiet, noTrunc bool
	latest, size        bool
	last                int
	filters             []string
	format              string
}

func (a *app) psCommand() *cobra.Command {
	f := &psFlags{}
	c := &cobra.Command{
		Use:                   "ps [OPTIONS]",
		Short:                 "List containers",
		Args:                  cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			return a.withEngine(func(e *engine.Engine) error { return a.ps(e, f) })
		},
	}
	c.Flags().BoolVarP(&f.all, "all", "a", false, "Show all containers (default shows just running)")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "Only display container IDs")
	c.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "Don't truncate output")
	c.Flags().BoolVarP(&f.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	c.Flags().BoolVarP(&f.size, "size", "s", false, "Display total file sizes")
	c.Flags().IntVarP(&f.last, "last", "n", -1, "Show n last created containers (includes all states)")
	c.Flags().StringArrayVarP(&f.filters, "filter", "f", nil, "Filter output: id=, name=, status=, exited=, ancestor=, label=name[=value], "+
		"before=, since=, volume=, network=, publish=, expose=, health=")
	c.Flags().StringVar(&f.format, "format", "", "Format output by a Go template, \"table TEMPLATE\" or \"json\"")
	return c
}

// A psRow is a container, by the names that docker's templates have.
type psRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Ports, State, Status, Size, Names, LocalVolumes, Mounts, Networks, Labels string

	labels map[string]string
}

// Label returns the value of a label.
func (r psRow) Label(name string) string { return r.labels[name] }

var psHeadings = psRow{
	ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED", Ports: "PORTS", State: "STATE",
	Status: "STATUS", Size: "SIZE", Names: "NAMES", LocalVolumes: "LOCAL VOLUMES", Mounts: "MOUNTS", Networks: "NETWORKS", Labels: "LABELS",
}

const psTable = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"

func (a *app) ps(e *engine.Engine, f *psFlags) error {
	q, err := filterQuery(f.filters)
	if err != nil {
		return err
	}
	if f.latest {
		f.last = 1
	}
	format := f.format
	switch {
	case f.quiet && format == "":
		format = "{{.ID}}"
	case format == "" || format == "table":
		if format = psTable; f.size {
			format += "\t{{.Size}}"
		}
	}
	p, err := newFormatter(format)
	if err != nil {
		return err
	}
	if f.all {
		q.Set("all", "1")
	}
	if f.size || strings.Contains(f.format, ".Size") {
		q.Set("size", "1")
	}
	if f.last > 0 {
		q.Set("limit", strconv.Itoa(f.last))
	}
	var list []container.Summary
	if err := a.api(e).get("/containers/json", q, &list); err != nil {
		return err
	}
	if f.last == 0 {
		list = nil
	}
	rows := make([]any, len(list))
	for i := range list {
		rows[i] = newPsRow(&list[i], f.noTrunc)
	}
	return p.print(a.stdout, psHeadings, rows)
}

func newPsRow(c *container.Summary, noTrunc bool) psRow {
	created := time.Unix(c.Created, 0)
	r := psRow{
		ID: c.ID, Image: c.Image, Command: c.Command, CreatedAt: created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: engine.Ago(time.Since(created)) + " ago", Ports: portColumn(c.Ports), State: string(c.State), Status: c.Status,
		Size: units.HumanSizeWithPrecision(float64(c.SizeRw), 3), labels: c.Labels, Labels: labelColumn(c.Labels),
	}
	if !noTrunc {
		r.ID, r.Command = c.ID[:min(12, len(c.ID))], ellipsis(c.Command, 20)
	}
	r.Command = strconv.Quote(r.Command)
	if c.SizeRootFs > 0 {
		r.Size += " (virtual " + units.HumanSizeWithPrecision(float64(c.SizeRootFs), 3) + ")"
	}
	names := make([]string, len(c.Names))
	for i, n := range c.Names {
		names[i] = strings.TrimPrefix(n, "/")
	}
	r.Names = strings.Join(names, ",")
	local := 0
	var mounts []string
	for _, m := range c.Mounts {
		if m.Driver == "local" {
			local++
		}
		name := cmp.Or(m.Name, m.Source)
		if !noTrunc {
			name = ellipsis(name, 15)
		}
		mounts = append(mounts, name)
	}
	r.LocalVolumes, r.Mounts = strconv.Itoa(local), strings.Join(mounts, ",")
	if c.NetworkSettings != nil {
		r.Networks = strings.Join(slices.Sorted(maps.Keys(c.NetworkSettings.Networks)), ",")
	}
	return r
}

// labelColumn lists labels.
func labelColumn(labels map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, name+"="+labels[name])
	}
	return strings.Join(all, ",")
}

// portColumn lists ports, those that follow each other as ranges.
func portColumn(ports []container.PortSummary) string {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), a.IP.Compare(b.IP), cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	var all []string
	for len(ports) > 0 {
		first, n := ports[0], 1
		for ; n < len(ports); n++ {
			p, step := ports[n], uint16(n)
			if p.Type != first.Type || p.IP != first.IP || p.PrivatePort != first.PrivatePort+step ||
				p.PublicPort != first.PublicPort && p.PublicPort != first.PublicPort+step || (p.PublicPort == first.PublicPort) != (first.PublicPort == 0) {
				break
			}
		}
		text := span(first.PrivatePort, n) + "/" + first.Type
		if first.PublicPort != 0 {
			text = joinHostPort(first.IP, span(first.PublicPort, n)) + "->" + text
		}
		all = append(all, text)
		ports = ports[n:]
	}
	return strings.Join(all, ", ")
}

func span(first uint16, n int) string {
	if n == 1 {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, int(first)+n-1)
}

func joinHostPort(a netip.Addr, port string) string {
	switch {
	case !a.IsValid():
		return port
	case a.Is6():
		return "[" + a.String() + "]:" + port
	}
	return a.String() + ":" + port
}

// ellipsis cuts s to n characters.
func ellipsis(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
