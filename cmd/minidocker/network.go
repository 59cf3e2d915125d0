package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/network"
)

func (a *app) networkCommand() *cobra.Command {
	c := group("network", "Manage networks")
	c.AddCommand(a.networkListCommand(), a.networkCreateCommand(), a.networkRemoveCommand(), a.inspects("inspect [OPTIONS] NETWORK [NETWORK...]", "Display detailed information on one or more networks", "network"),
		a.networkConnectCommand(), a.networkDisconnectCommand(), a.networkPruneCommand())
	return c
}

// createFlags are the flags of network create.
type createFlags struct {
	driver                                     string
	subnets, gateways, ranges, options, labels []string
	internal, ipv6, ipv4                       bool
	egress, reserved                           []string
}

func (a *app) networkCreateCommand() *cobra.Command {
	f := &createFlags{}
	c := &cobra.Command{
		Use: "create [OPTIONS] NETWORK", Short: "Create a network", Args: cobra.ExactArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := f.parse()
			if err != nil {
				return err
			}
			return a.withEngine(func(e *engine.Engine) error {
				n, err := e.CreateNetwork(a.ctx, args[0], o)
				if err == nil {
					say(a.stdout, "%s", n.ID)
				}
				return err
			})
		},
	}
	c.Flags().StringVarP(&f.driver, "driver", "d", "bridge", "Driver to manage the Network: bridge, macvlan or ipvlan")
	c.Flags().StringArrayVar(&f.subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	c.Flags().StringArrayVar(&f.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the subnet")
	c.Flags().StringArrayVar(&f.ranges, "ip-range", nil, "Allocate container ip from a sub-range")
	c.Flags().BoolVar(&f.internal, "internal", false, "Restrict external access to the network")
	c.Flags().BoolVar(&f.ipv6, "ipv6", false, "Enable IPv6 address assignment")
	c.Flags().BoolVar(&f.ipv4, "ipv4", true, "Enable IPv4 address assignment")
	c.Flags().StringArrayVarP(&f.options, "opt", "o", nil, "Set driver specific options: those of Docker's drivers")
	c.Flags().StringArrayVar(&f.labels, "label", nil, "Set metadata on a network")
	c.Flags().StringArrayVar(&f.reserved, "aux-address", nil, "Addresses that no container gets: NAME=ADDRESS")
	c.Flags().Bool("attachable", false, "Enable manual container attachment: it always is")
	refuseFlag(c.Flags(), "ipam-driver", "", "default", "there are no plugins")
	refuseFlag(c.Flags(), "ipam-opt", "", "", "options are those of plugins")
	refuseFlag(c.Flags(), "scope", "", "local", "there is no swarm")
	refuseFlag(c.Flags(), "config-from", "", "", "a network's options are its own")
	refuseSwitch(c.Flags(), "config-only", "", false, "a network's options are its own")
	refuseSwitch(c.Flags(), "ingress", "", false, "there is no swarm")
	c.Flags().StringArrayVar(&f.egress, "egress", nil, "Allow the network's containers connections to this and nothing else, as run --egress does")
	return c
}

func (f *createFlags) parse() (*network.CreateOptions, error) {
	o := &network.CreateOptions{
		Driver: network.Driver(f.driver), Internal: f.internal, IPv6: f.ipv6, NoIPv4: !f.ipv4, Labels: map[string]string{},
	}
	var err error
	if o.Egress, err = parseEgress(f.egress); err != nil {
		return nil, err
	}
	for _, l := range f.labels {
		name, value, _ := strings.Cut(l, "=")
		o.Labels[name] = value
	}
	for _, text := range f.subnets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %s", text)
		}
		o.Subnets = append(o.Subnets, network.Subnet{Prefix: p})
	}
	// A gateway and a range belong to the subnet that they are in.
	of := func(what, text string, a netip.Addr) (*network.Subnet, error) {
		for i := range o.Subnets {
			if o.Subnets[i].Prefix.Contains(a) {
				return &o.Subnets[i], nil
			}
		}
		return nil, fmt.Errorf("no matching subnet for %s %s", what, text)
	}
	for _, text := range f.gateways {
		gw, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("invalid gateway %s", text)
		}
		s, err := of("gateway", text, gw)
		if err != nil {
			return nil, err
		}
		s.Gateway = gw
	}
	for _, text := range f.ranges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid range %s", text)
		}
		s, err := of("range", text, r.Addr())
		if err != nil {
			return nil, err
		}
		s.Range = r.Masked()
	}
	for _, text := range f.reserved {
		name, address, _ := strings.Cut(text, "=")
		a, err := netip.ParseAddr(address)
		if err != nil || name == "" {
			return nil, fmt.Errorf("invalid aux-address %s: it is not NAME=ADDRESS", text)
		}
		s, err := of("aux-address", text, a)
		if err != nil {
			return nil, err
		}
		if s.Reserved == nil {
			s.Reserved = make(map[string]netip.Addr)
		}
		s.Reserved[name] = a
	}
	for _, text := range f.options {
		name, value, _ := strings.Cut(text, "=")
		if err := engine.SetNetworkOption(o, name, value); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (a *app) networkRemoveCommand() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use: "rm [OPTIONS] NETWORK [NETWORK...]", Aliases: []string{"remove"}, Short: "Remove one or more networks",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					err := e.RemoveNetwork(a.ctx, name)
					if force && errors.Is(err, fs.ErrNotExist) {
						return nil
					}
					if err == nil {
						say(a.stdout, "%s", name)
					}
					return err
				})
			})
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Say nothing of networks that are not there")
	return c
}

func (a *app) networkConnectCommand() *cobra.Command {
	f := &networkFlags{}
	c := &cobra.Command{
		Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Connect a container to a network", Args: cobra.ExactArgs(2),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			at := &engine.Connection{Network: args[0]}
			if err := f.settings(at); err != nil {
				return err
			}
			at.Links, at.GatewayPriority = f.links, f.priority
			return a.withEngine(func(e *engine.Engine) error { return e.Connect(a.ctx, args[1], at) })
		},
	}
	c.Flags().StringArrayVar(&f.aliases, "alias", nil, "Add network-scoped alias for the container")
	c.Flags().StringVar(&f.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	c.Flags().StringVar(&f.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	c.Flags().StringArrayVar(&f.links, "link", nil, "Add link to another container: NAME[:ALIAS]")
	c.Flags().IntVar(&f.priority, "gw-priority", 0, "Highest gw-priority provides the default gateway: accepts positive and negative values")
	refuseFlag(c.Flags(), "driver-opt", "", "", "drivers have options of networks, not of endpoints")
	refuseFlag(c.Flags(), "link-local-ip", "", "", "an endpoint has one address of each family of its network's")
	return c
}

func (a *app) networkDisconnectCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Disconnect a container from a network", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withEngine(func(e *engine.Engine) error { return e.Disconnect(a.ctx, args[1], args[0]) })
		},
	}
	c.Flags().BoolP("force", "f", false, "Force the container to disconnect from a network: nothing holds it there")
	return c
}
