package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caisson-engine/caisson/network"
)

// defaultNetwork is made when it is first needed.
const defaultNetwork = "bridge"

// HostDriver and NullDriver are those of the networks "host" and "none", which are always there: the host's own network, and none.
const (
	HostDriver network.Driver = "host"
	NullDriver network.Driver = "null"
)

// Networks returns the store of the engine's networks.
func (e *Engine) Networks() *network.Store { return e.networks }

// predefined are networks' names that have a meaning of their own.
func predefined(name string) bool {
	return name == defaultNetwork || name == "host" || name == "none" || name == "default" || strings.HasPrefix(name, "container:")
}

// PredefinedNetwork tells whether a network with the name is always there: "bridge", "host" and "none".
func PredefinedNetwork(name string) bool {
	return name == defaultNetwork || name == "host" || name == "none"
}

// fixedNetworks are "host" and "none". They are in no store, and have the same IDs each time.
func (e *Engine) fixedNetworks() []network.Network {
	fixed := func(name string, driver network.Driver) network.Network {
		id := sha256.Sum256([]byte("network " + name + " of " + e.dir))
		return network.Network{Name: name, ID: hex.EncodeToString(id[:]), Driver: driver}
	}
	return []network.Network{fixed("host", HostDriver), fixed("none", NullDriver)}
}

// ListNetworks lists the networks by name, with "bridge", which is made if it is not there, "host" and "none".
func (e *Engine) ListNetworks(ctx context.Context) ([]network.Network, error) {
	if _, err := e.network(ctx, defaultNetwork); err != nil {
		return nil, err
	}
	all, err := e.networks.List()
	all = append(all, e.fixedNetworks()...)
	slices.SortFunc(all, func(a, b network.Network) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// FindNetwork returns the network that ref names: a name, an ID, or the beginning of an ID. "bridge" is made if it is not there.
func (e *Engine) FindNetwork(ctx context.Context, ref string) (network.Network, error) {
	if ref == "host" || ref == "none" {
		fixed := e.fixedNetworks()
		return fixed[slices.IndexFunc(fixed, func(n network.Network) bool { return n.Name == ref })], nil
	}
	n, err := e.networks.Get(ref)
	if !errors.Is(err, network.ErrNotFound) && !errors.Is(err, network.ErrName) {
		return n, err
	}
	if ref == defaultNetwork {
		if n, err = e.networks.Create(ctx, ref, nil); errors.Is(err, network.ErrExists) {
			return e.networks.Get(ref)
		}
		return n, err
	}
	if !isHex(ref) {
		return n, notFound("network %s not found", ref)
	}
	all, err := e.ListNetworks(ctx)
	if err != nil {
		return n, err
	}
	var found []network.Network
	for _, n := range all {
		if n.ID == ref {
			return n, nil
		}
		if strings.HasPrefix(n.ID, ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return n, notFound("network %s not found", ref)
	case 1:
		return found[0], nil
	}
	return n, invalid("network %s is ambiguous (%d matches found based on ID prefix)", ref, len(found))
}

// network returns a network that containers can be attached to, by its name or ID; the default one is made if it is not there.
func (e *Engine) network(ctx context.Context, ref string) (network.Network, error) {
	n, err := e.FindNetwork(ctx, ref)
	if err == nil && (n.Driver == HostDriver || n.Driver == NullDriver) {
		return n, invalid("container cannot be connected to %s network", n.Name)
	}
	return n, err
}

// CreateNetwork makes a network. One that is there is a [Conflict].
func (e *Engine) CreateNetwork(ctx context.Context, name string, o *network.CreateOptions) (network.Network, error) {
	if predefined(name) {
		return network.Network{}, conflict("operation is not permitted on predefined %s network", name)
	}
	n, err := e.networks.Create(ctx, name, o)
	switch {
	case errors.Is(err, network.ErrExists):
		return n, conflict("network with name %s already exists", name)
	case errors.Is(err, network.ErrInvalid), errors.Is(err, network.ErrName):
		return n, &Error{Kind: Invalid, Message: "invalid network", Err: err}
	case err == nil:
		e.noteNetwork("create", &n)
	}
	return n, err
}

// SetNetworkOption puts an option of Docker's network drivers, such as "com.docker.network.driver.mtu", into o, and notes it in
// o.Options. One that has no meaning here is [Invalid].
func SetNetworkOption(o *network.CreateOptions, name, value string) (err error) {
	boolean := func(to *bool, sense bool) error {
		b, err := strconv.ParseBool(value)
		*to = b == sense
		return err
	}
	switch name {
	case "com.docker.network.bridge.name", "parent":
		o.Interface = value
	case "com.docker.network.driver.mtu":
		o.MTU, err = strconv.Atoi(value)
	case "com.docker.network.bridge.enable_icc":
		err = boolean(&o.Isolated, false)
	case "com.docker.network.bridge.enable_ip_masquerade":
		err = boolean(&o.NoMasquerade, false)
	case "macvlan_mode", "ipvlan_mode":
		o.Mode = value
	default:
		return invalid("invalid option %q: there is no such option here", name)
	}
	if err != nil {
		return invalid("invalid option %q: %q is no value of it", name, value)
	}
	if o.Options == nil {
		o.Options = make(map[string]string)
	}
	o.Options[name] = value
	return nil
}

// RemoveNetwork removes a network. One that a running container is connected to is a [Conflict].
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) error {
	if predefined(ref) {
		return conflict("operation is not permitted on predefined %s network", ref)
	}
	n, err := e.FindNetwork(ctx, ref)
	if err != nil {
		return err
	}
	if predefined(n.Name) {
		return conflict("operation is not permitted on predefined %s network", n.Name)
	}
	err = e.networks.Remove(ctx, n.Name)
	switch {
	case err == nil:
		e.noteNetwork("destroy", &n)
	case errors.Is(err, network.ErrNotFound):
		return notFound("network %s not found", ref)
	case errors.Is(err, network.ErrInUse):
		return &Error{Kind: Conflict, Message: fmt.Sprintf("error while removing network: network %s has active endpoints", n.Name), Err: err}
	}
	return err
}

// PruneNetworks removes the networks that no running container is connected to and no other names, and that o, if it is not nil, does
// not keep, and returns their names.
func (e *Engine) PruneNetworks(ctx context.Context, o *network.PruneOptions) ([]string, error) {
	used, err := e.UsedNetworks(ctx)
	if err != nil {
		return nil, err
	}
	removed, err := e.networks.Prune(ctx, &network.PruneOptions{Keep: func(n network.Network) bool {
		return predefined(n.Name) || used[n.Name] || o != nil && o.Keep != nil && o.Keep(n)
	}})
	var names []string
	for _, n := range removed {
		e.noteNetwork("destroy", &n)
		names = append(names, n.Name)
	}
	return names, err
}

// UsedNetworks returns the names of the networks that a container names, running or not.
func (e *Engine) UsedNetworks(ctx context.Context) (map[string]bool, error) {
	list, err := e.List(ctx)
	used := make(map[string]bool)
	for _, c := range list {
		for _, at := range c.Networks {
			used[at.Network] = true
		}
	}
	return used, err
}

// NetworkEndpoints returns the endpoints of a network whose containers run.
func (e *Engine) NetworkEndpoints(ctx context.Context, name string) ([]network.Endpoint, error) {
	if name == "host" || name == "none" {
		return nil, nil
	}
	all, err := e.networks.Endpoints(name)
	return slices.DeleteFunc(all, func(at network.Endpoint) bool {
		c, err := e.load(ctx, at.Sandbox)
		return err != nil || c.State.Status != Running
	}), err
}
