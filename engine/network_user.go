package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caisson-engine/caisson/network"
	"github.com/caisson-engine/caisson/network/usernet"
)

// networkOptions are those of the engine's networks: in this process where the program may not change the host's.
func networkOptions(o *Options) *network.Options {
	n := &network.Options{Namespace: o.NetworkNamespace}
	if o.UserNetworks || rootless() {
		n.UserMode = usernet.New()
	}
	return n
}

// inUserMode tells whether networks are in this process.
func (e *Engine) inUserMode() bool { return e.options.UserNetworks || rootless() }

// checkUserMode refuses what ends with this program.
func (r *Run) checkUserMode() error {
	if len(r.record.Networks) == 0 || !r.e.inUserMode() {
		return nil
	}
	return fmt.Errorf("network %s: networks without root are not implemented for a container in background (\"none\" and \"host\" are): %w",
		r.record.Networks[0].Network, errors.ErrUnsupported)
}

// nameGateway puts the resolver of user mode, at the gateway, into the container's resolv.conf in place of that in its network
// namespace.
func (r *Run) nameGateway() error {
	if !r.e.inUserMode() || len(r.record.Endpoints) == 0 {
		return nil
	}
	e := r.record.Endpoints[0]
	n, err := r.e.networks.Get(e.Network)
	if err != nil {
		return err
	}
	gateway := n.Subnets[0].Gateway.String()
	text := strings.Replace(r.record.resolvConf(), "nameserver 127.0.0.11\n", "nameserver "+gateway+"\n", 1)
	return writePlain(r.e.path(r.record.ID, "resolv.conf"), text)
}
