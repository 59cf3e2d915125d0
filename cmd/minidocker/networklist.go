package main

import (
	"fmt"
	"net/http"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
)

// A networkRow is a network in a list, by the names that docker's templates have.
type networkRow struct {
	ID, Name, Driver, Scope, IPv4, IPv6, Internal, Labels, CreatedAt string

	labels map[string]string
}

// Label returns the value of a label.
func (r networkRow) Label(name string) string { return r.labels[name] }

var networkHeadings = networkRow{
	ID: "NETWORK ID", Name: "NAME", Driver: "DRIVER", Scope: "SCOPE", IPv4: "IPV4", IPv6: "IPV6", Internal: "INTERNAL", Labels: "LABELS",
	CreatedAt: "CREATED AT",
}

func (a *app) networkListCommand() *cobra.Command {
	f := &listFlags{}
	var noTrunc bool
	c := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List networks", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			p, q, err := f.read("{{.ID}}", "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}")
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				var list []network.Summary
				if err := a.api(e).get("/networks", q, &list); err != nil {
					return err
				}
				rows := make([]any, len(list))
				for i := range list {
					rows[i] = newNetworkRow(&list[i], noTrunc)
				}
				return p.print(a.stdout, networkHeadings, rows)
			})
		},
	}
	f.add(c, "Only display network IDs", "Provide filter values: driver=, id=, label=name[=value], name=, scope=, type=, dangling=")
	c.Flags().BoolVar(&noTrunc, "no-trunc", false, "Do not truncate the output")
	return c
}

func newNetworkRow(n *network.Summary, noTrunc bool) networkRow {
	r := networkRow{
		ID: n.ID, Name: n.Name, Driver: n.Driver, Scope: n.Scope, IPv4: fmt.Sprint(n.EnableIPv4), IPv6: fmt.Sprint(n.EnableIPv6),
		Internal: fmt.Sprint(n.Internal), Labels: labelColumn(n.Labels), CreatedAt: n.Created.String(), labels: n.Labels,
	}
	if !noTrunc {
		r.ID = n.ID[:min(12, len(n.ID))]
	}
	return r
}

func (a *app) networkPruneCommand() *cobra.Command {
	var force bool
	var filters []string
	c := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all unused networks", Args: cobra.NoArgs,
		DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error {
			q, err := filterQuery(filters)
			if err != nil || !force && !a.confirm("WARNING! This will remove all custom networks not used by at least one container.") {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				var removed network.PruneReport
				if err := a.api(e).call(http.MethodPost, "/networks/prune", q, &removed); err != nil {
					return err
				}
				a.sayRemoved("Networks", removed.NetworksDeleted)
				return nil
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&filters, "filter", nil, "Provide filter values: until=<timestamp>, label=<key>[=<value>], label!=…")
	return c
}
