package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/network"
)

// networkFlags are the flags of run that say how the container is connected.
type networkFlags struct {
	networks, aliases, publish, dns, extraHosts []string
	egress                                      []string
	egressLog                                   string
	ip, ip6, mac                                string
	links                                       []string // of network connect
	priority                                    int
}

func (n *networkFlags) add(f *pflag.FlagSet, c *engine.Config) {
	f.StringArrayVar(&n.networks, "network", nil,
		`Connect the container to a network ("none", "host", "container:NAME", a network's name, or name=NAME,alias=…,ip=…,ip6=…,mac-address=…,gw-priority=…)`)
	f.StringArrayVar(&n.networks, "net", nil, "")
	_ = f.MarkHidden("net")
	f.StringArrayVar(&n.aliases, "network-alias", nil, "Add network-scoped alias for the container")
	f.StringArrayVar(&n.aliases, "net-alias", nil, "")
	_ = f.MarkHidden("net-alias")
	f.StringVar(&n.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&n.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	refuseFlag(f, "link-local-ip", "", "", "a container has one address of each family on a network")
	f.StringVar(&n.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.StringArrayVarP(&n.publish, "publish", "p", nil, "Publish a container's port(s) to the host")
	f.BoolVarP(&c.PublishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	f.StringArrayVar(&c.Expose, "expose", nil, "Expose a port or a range of ports")
	f.StringArrayVar(&n.dns, "dns", nil, "Set custom DNS servers")
	f.StringArrayVar(&c.DNSSearch, "dns-search", nil, "Set custom DNS search domains")
	f.StringArrayVar(&c.DNSOptions, "dns-option", nil, "Set DNS options")
	f.StringArrayVar(&c.DNSOptions, "dns-opt", nil, "") // its older name
	_ = f.MarkHidden("dns-opt")
	f.StringArrayVar(&n.egress, "egress", nil,
		`Allow connections to this and nothing else: a name, "*.name", address, prefix or name=prefix, then [:port[-port]][/protocol]; "none" for nothing at all`)
	f.StringVar(&n.egressLog, "egress-log", "", "Append what the container tried to connect to to the file, as lines of JSON")
	f.StringArrayVar(&c.Links, "link", nil, "Add link to another container")
	f.StringArrayVar(&n.extraHosts, "add-host", nil, "Add a custom host-to-IP mapping (host:ip)")
}

// fill puts them into the configuration.
func (n *networkFlags) fill(c *engine.Config) error {
	for _, text := range n.publish {
		ports, err := network.ParsePorts(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"-p, --publish\" flag: %w", text, err)
		}
		c.Ports = append(c.Ports, ports...)
	}
	for _, text := range n.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%s is not an ip address", text)
		}
		c.DNS = append(c.DNS, a)
	}
	for _, text := range n.extraHosts {
		if name, address, ok := strings.Cut(text, "="); ok {
			text = name + ":" + strings.Trim(address, "[]")
		}
		c.ExtraHosts = append(c.ExtraHosts, text)
	}
	if n.egressLog != "" {
		if len(n.egress) == 0 {
			return errors.New("--egress-log needs --egress")
		}
		path, err := filepath.Abs(n.egressLog)
		if err != nil {
			return err
		}
		c.EgressLog = path
	}
	var err error
	if c.Egress, err = parseEgress(n.egress); err != nil {
		return err
	}
	if len(n.networks) == 1 && !strings.ContainsRune(n.networks[0], '=') {
		c.Network = n.networks[0]
	}
	single := engine.Connection{Network: c.Network}
	if single.Network == "" {
		single.Network = "bridge"
	}
	if err := n.settings(&single); err != nil {
		return err
	}
	given := n.ip != "" || n.ip6 != "" || n.mac != "" || len(n.aliases) > 0
	if len(n.networks) < 2 && (c.Network != "" || len(n.networks) == 0) {
		if given {
			c.Networks = []engine.Connection{single}
		}
		return nil
	}
	for i, text := range n.networks {
		at, err := parseConnection(text)
		if err != nil {
			return err
		}
		if i == 0 && given {
			if err := n.settings(&at); err != nil {
				return err
			}
		}
		c.Networks = append(c.Networks, at)
	}
	return nil
}

// parseEgress reads the rules of --egress. Without any there is no policy.
func parseEgress(rules []string) (*network.Egress, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	e := &network.Egress{Allow: []network.EgressRule{}}
	for _, text := range rules {
		if text == "none" {
			continue
		}
		r, err := network.ParseEgress(text)
		if err != nil {
			return nil, fmt.Errorf("invalid argument %q for \"--egress\" flag: %w", text, err)
		}
		e.Allow = append(e.Allow, r)
	}
	return e, nil
}

// settings puts the flags that have no network's name into a connection.
func (n *networkFlags) settings(at *engine.Connection) error {
	at.Aliases = append(at.Aliases, n.aliases...)
	for key, value := range map[string]string{"ip": n.ip, "ip6": n.ip6, "mac-address": n.mac} {
		if value == "" {
			continue
		}
		if err := setConnection(at, key, value); err != nil {
			return err
		}
	}
	return nil
}

// parseConnection reads the long form of --network.
func parseConnection(text string) (engine.Connection, error) {
	at := engine.Connection{}
	if !strings.ContainsRune(text, '=') {
		at.Network = text
		return at, nil
	}
	for _, field := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return at, fmt.Errorf("invalid field %s", field)
		}
		if err := setConnection(&at, key, value); err != nil {
			return at, err
		}
	}
	if at.Network == "" {
		return at, fmt.Errorf("network name/id is not specified: %s", text)
	}
	return at, nil
}

func setConnection(at *engine.Connection, key, value string) (err error) {
	switch key {
	case "name":
		at.Network = value
	case "alias":
		at.Aliases = append(at.Aliases, value)
	case "ip":
		at.IPv4, err = netip.ParseAddr(value)
	case "ip6":
		at.IPv6, err = netip.ParseAddr(value)
	case "mac-address":
		at.MAC = value
	case "gw-priority":
		at.GatewayPriority, err = strconv.Atoi(value)
	default:
		return fmt.Errorf("invalid field key %s", key)
	}
	if err != nil {
		return fmt.Errorf("invalid %s: %q", key, value)
	}
	return nil
}
