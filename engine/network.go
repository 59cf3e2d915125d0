package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/network"
)

// tunDevice is what networks without root are made of.
const tunDevice = "/dev/net/tun"

// A Connection says how a container is connected to a network.
type Connection struct {
	// Network is the network's name.
	Network string
	// Aliases are names that the container has there besides its own and the first twelve digits of its ID.
	Aliases []string `json:",omitempty"`
	// Links are names that this container alone calls others on the network by, "name:alias". They need not be there yet.
	Links []string `json:",omitempty"`
	// IPv4 and IPv6 are addresses of the network's subnets. The zero value means any that is free.
	IPv4 netip.Addr `json:",omitzero"`
	IPv6 netip.Addr `json:",omitzero"`
	// MAC is the hardware address, "02:42:ac:11:00:02". Empty means one made of the address.
	MAC string `json:",omitempty"`
	// GatewayPriority is that of [network.EndpointOptions].
	GatewayPriority int `json:",omitempty"`
}

// prepareNetwork works out how the container is connected. What can be refused is refused here.
func (e *Engine) prepareNetwork(ctx context.Context, c *Container, exposed map[string]struct{}) error {
	cfg := &c.Config
	mode := cmp.Or(cfg.Network, defaultNetwork)
	if mode == "default" {
		mode = defaultNetwork
	}
	if err := e.resolveLinks(cfg); err != nil {
		return err
	}
	if err := c.expose(exposed); err != nil {
		return err
	}
	other := mode == "none" || mode == "host" || strings.HasPrefix(mode, "container:")
	if other {
		if len(cfg.Networks) > 0 || len(cfg.Ports) > 0 || cfg.PublishAll || len(cfg.Links) > 0 {
			return invalid("conflicting options: networks, published ports or links and the network mode %s", mode)
		}
		if ref, ok := strings.CutPrefix(mode, "container:"); ok {
			id, err := e.resolve(ref)
			if err != nil {
				return err
			}
			other, err := e.load(ctx, id)
			if err != nil {
				return err
			}
			cfg.Network = "container:" + id
			c.Hostname = other.Hostname // the same machine to others
			if cfg.Hostname != "" || len(cfg.DNS)+len(cfg.ExtraHosts) > 0 {
				return invalid("conflicting options: hostname, dns or extra hosts and the network mode %s", mode)
			}
		}
		return nil
	}
	cfg.Network = mode
	c.Networks = slices.Clone(cfg.Networks)
	if len(c.Networks) == 0 {
		c.Networks = []Connection{{Network: mode}}
	}
	for i, at := range c.Networks {
		if at.Network == "default" {
			c.Networks[i].Network = defaultNetwork
		}
		if name := c.Networks[i].Network; name != defaultNetwork {
			n, err := e.network(ctx, name)
			if err != nil {
				return err
			}
			c.Networks[i].Network = n.Name
		}
		if err := at.check(); err != nil {
			return err
		}
	}
	cfg.Network = c.Networks[0].Network
	return nil
}

// check refuses what is not written as it should be.
func (at *Connection) check() error {
	_, err := at.mac()
	if err == nil {
		_, err = linksOf(at.Links)
	}
	return err
}

func (at *Connection) mac() (net.HardwareAddr, error) {
	if at.MAC == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(at.MAC)
	if err != nil || len(mac) != 6 {
		return nil, invalid("invalid MAC address: %s", at.MAC)
	}
	return mac, nil
}

// expose works out the ports that a container exposes, and those that are published: what is asked for, and with PublishAll all that are
// exposed.
func (c *Container) expose(image map[string]struct{}) error {
	var exposed []network.Port
	for _, spec := range slices.Concat(c.Config.Expose, slices.Collect(maps.Keys(image))) {
		ports, err := network.ParsePorts(spec)
		if err == nil && !strings.Contains(spec, ":") {
			exposed = append(exposed, ports...)
		} else if _, images := image[spec]; !images || c.Config.PublishAll {
			return invalid("invalid exposed port: %s", spec)
		}
	}
	c.Ports = slices.Clone(c.Config.Ports)
	named := make(map[string]bool) // an image may expose them all
	for _, p := range c.Ports {
		named[portName(&p)] = true
	}
	exposed = append(exposed, c.Ports...)
	slices.SortStableFunc(exposed, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(portProtocol(&a), portProtocol(&b)))
	})
	for _, p := range exposed {
		text := portName(&p)
		if n := len(c.Exposed); n > 0 && c.Exposed[n-1] == text {
			continue
		}
		c.Exposed = append(c.Exposed, text)
		if c.Config.PublishAll && !named[text] {
			c.Ports = append(c.Ports, p)
		}
	}
	return nil
}

func portProtocol(p *network.Port) string { return cmp.Or(p.Protocol, "tcp") }

func portName(p *network.Port) string { return fmt.Sprintf("%d/%s", p.Container, portProtocol(p)) }

// options translates a connection. The first one publishes the ports.
func (c *Container) options(at *Connection) (*network.EndpointOptions, error) {
	mac, err := at.mac()
	if err != nil {
		return nil, err
	}
	links, err := linksOf(slices.Concat(c.Config.Links, at.Links))
	if err != nil {
		return nil, err
	}
	names := []string{c.Name, c.ShortID()}
	for _, name := range append(slices.Clone(at.Aliases), c.Hostname) {
		if !slices.Contains(names, name) && !strings.ContainsAny(name, " /") {
			names = append(names, name)
		}
	}
	return &network.EndpointOptions{
		Names: names, Links: links, IPv4: at.IPv4, IPv6: at.IPv6, MAC: mac, GatewayPriority: at.GatewayPriority,
		Egress: c.Config.Egress,
	}, nil
}

// Sandbox returns the network namespace of the container that runs and what is attached to it: for Dial, Listen and
// Transport. It is nil for a container without networks of its own, and for one whose networks a supervisor serves. Wait closes it.
func (r *Run) Sandbox() *network.Sandbox { return r.sandbox }

// Connect connects a container to a network: at once if it runs, and whenever it starts again. If it runs and no other network publishes
// its ports, this one does.
func (e *Engine) Connect(ctx context.Context, ref string, at *Connection) error {
	n, err := e.network(ctx, at.Network)
	if err != nil {
		return err
	}
	if err := at.check(); err != nil {
		return err
	}
	named := *at
	named.Network = n.Name
	at = &named
	return e.changeNetworks(ctx, ref, func(c *Container) error {
		if slices.ContainsFunc(c.Networks, func(o Connection) bool { return o.Network == at.Network }) {
			return conflict("endpoint with name %s already exists in network %s", c.Name, at.Network)
		}
		c.Networks = append(c.Networks, *at)
		return nil
	}, &call{Do: "attach", Connection: at}, func(c *Container, box *network.Sandbox) ([]network.Endpoint, error) {
		return e.attachTo(ctx, c, box, at)
	})
}

// Disconnect disconnects a container from a network. What Connect says of the next starts holds for it, too. If it runs, its ports are
// published by the next of its networks that can, under the same numbers.
func (e *Engine) Disconnect(ctx context.Context, ref, name string) error {
	if n, err := e.FindNetwork(ctx, name); err == nil { // one that is removed can be left all the same
		name = n.Name
	}
	return e.changeNetworks(ctx, ref, func(c *Container) error {
		before := len(c.Networks)
		c.Networks = slices.DeleteFunc(c.Networks, func(o Connection) bool { return o.Network == name })
		c.Endpoints = slices.DeleteFunc(c.Endpoints, func(o network.Endpoint) bool { return o.Network == name })
		if len(c.Networks) == before {
			return notConnected(c, name)
		}
		return nil
	}, &call{Do: "detach", Network: name}, func(c *Container, box *network.Sandbox) ([]network.Endpoint, error) {
		return e.detachFrom(ctx, c, box, name)
	})
}

// changeNetworks changes the document of a container, by stopped, and what one that runs is attached to.
func (e *Engine) changeNetworks(ctx context.Context, ref string, stopped func(*Container) error, supervised *call,
	running func(*Container, *network.Sandbox) ([]network.Endpoint, error),
) error {
	c, err := e.Inspect(ctx, ref)
	if err != nil {
		return err
	}
	if c.sharesNetwork() {
		return conflict("container %s has the network mode %s and cannot be connected to networks", c.Name, c.Config.Network)
	}
	if c.State.Status != Running {
		return e.changeStopped(ctx, c, stopped)
	}
	made, err := e.changeRunning(ctx, c, supervised, running)
	if err != nil {
		return err
	}
	if at := supervised.Connection; at != nil {
		e.noteConnection("connect", c.ID, at.Network)
	} else {
		e.noteConnection("disconnect", c.ID, supervised.Network)
	}
	err = e.edit(ctx, c.ID, func(now *Container) error {
		before := slices.Clone(now.Endpoints)
		_ = stopped(now) // the document says so already
		if now.State.Status == Running && now.State.Pid == c.State.Pid {
			for _, end := range made {
				now.Endpoints = slices.DeleteFunc(now.Endpoints, func(o network.Endpoint) bool { return o.ID == end.ID })
			}
			now.Endpoints = append(now.Endpoints, made...)
			e.changeHosts(now, before)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) { // it has ended, and is removed
		return nil
	}
	return err
}

// sharesNetwork tells whether a container has a network that is no endpoint, and never any other.
func (c *Container) sharesNetwork() bool {
	mode := c.Config.Network
	return mode == "host" || mode == "none" || strings.HasPrefix(mode, "container:")
}

// changeRunning changes what a container that runs is attached to, and returns the interface that it got.
func (e *Engine) changeRunning(ctx context.Context, c *Container, supervised *call,
	running func(*Container, *network.Sandbox) ([]network.Endpoint, error),
) ([]network.Endpoint, error) {
	if c.State.Supervised {
		supervised.ID = c.ID
		return e.ask(ctx, supervised)
	}
	if box := e.sandboxOf(c.ID); box != nil {
		made, err := running(c, box)
		if err != nil {
			return nil, err
		}
		return made, e.nameServers(c, box)
	}
	if e.inUserMode() {
		return nil, fmt.Errorf("the networks of container %s are another program's, which runs it in the foreground: %w", c.Name, errors.ErrUnsupported)
	}
	box, err := e.networks.Sandbox(c.State.Pid, &network.SandboxOptions{ID: c.ID, NoResolver: true})
	if err != nil {
		return nil, err
	}
	defer box.Forget()
	p, err := c.process() // still the one whose namespace was opened
	if err != nil {
		return nil, conflict("container %s is not running", c.Name)
	}
	_ = p.Release()
	return running(c, box)
}

func (e *Engine) changeStopped(ctx context.Context, c *Container, change func(*Container) error) error {
	l, held, err := e.tryLockContainer(c.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("No such container: %s", c.Name)
	}
	if err != nil {
		return err
	}
	if held {
		return conflict("container %s is being started or removed", c.Name)
	}
	defer l.Close()
	if c, err = e.reread(ctx, c.ID); err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	return e.write(c)
}
