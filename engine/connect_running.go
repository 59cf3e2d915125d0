package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/caisson-engine/caisson/network"
)

// attachTo attaches a container that runs to one more network, which publishes its ports if none of the others does. It returns the
// endpoints that are new or not as they were.
func (e *Engine) attachTo(ctx context.Context, c *Container, box *network.Sandbox, at *Connection) ([]network.Endpoint, error) {
	o, err := c.options(at)
	if err != nil {
		return nil, err
	}
	have, err := box.Endpoints()
	if err != nil {
		return nil, err
	}
	published := slices.ContainsFunc(have, func(end network.Endpoint) bool { return len(end.Ports) > 0 })
	if len(c.Ports) > 0 && !published && e.publishes(ctx, at.Network) {
		if o.Reserved, err = e.reserve(c); err != nil {
			return nil, err
		}
	}
	end, err := box.Attach(ctx, at.Network, o)
	if errors.Is(err, network.ErrExists) {
		err = conflict("endpoint with name %s already exists in network %s", c.Name, at.Network)
	}
	if err != nil {
		return nil, err
	}
	return []network.Endpoint{end}, nil
}

// detachFrom detaches a container that runs from a network. The ports that this published are published by the next of the container's
// networks that can, under the same numbers; where somebody else took one in that moment, or none of the networks can, they are not, until it
// is connected to one more or starts again. It returns the endpoints that are not as they were.
func (e *Engine) detachFrom(ctx context.Context, c *Container, box *network.Sandbox, name string) ([]network.Endpoint, error) {
	have, err := box.Endpoints()
	if err != nil {
		return nil, err
	}
	err = box.Detach(ctx, name)
	if errors.Is(err, network.ErrNotFound) {
		return nil, notConnected(c, name)
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(have, func(end network.Endpoint) bool { return end.Network == name && len(end.Ports) > 0 })
	next := slices.IndexFunc(c.Networks, func(at Connection) bool { return at.Network != name && e.publishes(ctx, at.Network) })
	if i < 0 || next < 0 {
		return nil, nil
	}
	end, err := box.Publish(ctx, c.Networks[next].Network, have[i].Ports)
	if err != nil { // it is disconnected all the same
		e.log.Warn("ports are published no more", "id", c.ID, "network", name, "error", err)
		return nil, nil
	}
	return []network.Endpoint{end}, nil
}
