package engine

import (
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

// nameServers puts the resolver of user mode, at a gateway, into the container's resolv.conf in place of that in its network
// namespace.
func (e *Engine) nameServers(rec *Container, box *network.Sandbox) error {
	if !e.inUserMode() {
		return nil
	}
	all, err := box.Endpoints()
	if err != nil || len(all) == 0 {
		return err
	}
	n, err := e.networks.Get(all[0].Network)
	if err != nil {
		return err
	}
	gateway := n.Subnets[0].Gateway.String()
	at := *rec
	if len(at.Networks) == 0 { // its document may not have the first one yet
		at.Networks = []Connection{{Network: n.Name}}
	}
	text := strings.Replace(at.resolvConf(), "nameserver 127.0.0.11\n", "nameserver "+gateway+"\n", 1)
	return writePlain(e.path(rec.ID, "resolv.conf"), text)
}
