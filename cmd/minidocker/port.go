package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/network"
)

// published lists a container's ports as they are bound, each address on its own.
func published(c *engine.Container) (all []network.Port) {
	for _, e := range c.Endpoints {
		all = append(all, e.Ports...)
	}
	return all
}

func (a *app) portCommand() *cobra.Command {
	return &cobra.Command{
		Use: "port CONTAINER [PRIVATE_PORT[/PROTO]]", Short: "List port mappings of the container", Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				c, err := e.Inspect(a.ctx, args[0])
				if err != nil {
					return err
				}
				if len(args) == 1 {
					for _, p := range published(c) {
						host, _, _ := strings.Cut(p.String(), "->")
						say(a.stdout, "%d/%s -> %s", p.Container, p.Protocol, host)
					}
					return nil
				}
				want, err := network.ParsePorts(args[1])
				if err != nil || len(want) != 1 || strings.Contains(args[1], ":") {
					return fmt.Errorf("invalid port %q", args[1])
				}
				found := false
				for _, p := range published(c) {
					if p.Container == want[0].Container && p.Protocol == want[0].Protocol {
						host, _, _ := strings.Cut(p.String(), "->")
						say(a.stdout, "%s", host)
						found = true
					}
				}
				if !found {
					return fmt.Errorf("no public port '%s' published for %s", args[1], args[0])
				}
				return nil
			})
		},
	}
}
