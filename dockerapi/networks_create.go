package dockerapi

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/network"
)

func (s *Server) createNetwork(w http.ResponseWriter, r *http.Request) error {
	q := &apinetwork.CreateRequest{}
	if err := s.readJSON(w, r, q, false); err != nil {
		return err
	}
	if versionOf(r) < mustVersion("1.48") {
		q.EnableIPv4 = nil
	}
	o, err := networkOptionsOf(q)
	if err != nil {
		return err
	}
	n, err := s.Engine.CreateNetwork(r.Context(), q.Name, o)
	if errors.Is(err, network.ErrOverlap) {
		return failure(http.StatusForbidden, "invalid pool request: Pool overlaps with other one on this address space: %w", err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, &apinetwork.CreateResponse{ID: n.ID})
}

// networkOptionsOf translates a request for a network. Attachable asks for what holds here anyway: a container can be connected to any
// network.
func networkOptionsOf(q *apinetwork.CreateRequest) (*network.CreateOptions, error) {
	if err := refuse("network", map[string]bool{
		"Scope=" + q.Scope: q.Scope != "" && q.Scope != "local", "Ingress": q.Ingress, "ConfigOnly": q.ConfigOnly,
		"ConfigFrom": q.ConfigFrom != nil && q.ConfigFrom.Network != "",
	}); err != nil {
		return nil, err
	}
	o := &network.CreateOptions{
		Driver: network.Driver(q.Driver), Internal: q.Internal, IPv6: q.EnableIPv6 != nil && *q.EnableIPv6,
		NoIPv4: q.EnableIPv4 != nil && !*q.EnableIPv4, Labels: q.Labels,
	}
	if o.Driver == "default" {
		o.Driver = ""
	}
	for _, name := range slices.Sorted(maps.Keys(q.Options)) {
		if err := engine.SetNetworkOption(o, name, q.Options[name]); err != nil {
			return nil, err
		}
	}
	if q.IPAM == nil {
		return o, nil
	}
	if err := refuse("network.IPAM", map[string]bool{
		"Driver=" + q.IPAM.Driver: q.IPAM.Driver != "" && q.IPAM.Driver != "default", "Options": len(q.IPAM.Options) > 0,
	}); err != nil {
		return nil, err
	}
	for _, c := range q.IPAM.Config {
		if !c.Subnet.IsValid() {
			if c.IPRange.IsValid() || c.Gateway.IsValid() || len(c.AuxAddress) > 0 {
				return nil, badRequest("network.IPAM.Config: IPRange, Gateway or AuxiliaryAddresses without a Subnet")
			}
			continue
		}
		o.Subnets = append(o.Subnets, network.Subnet{Prefix: c.Subnet, Gateway: c.Gateway, Range: c.IPRange.Masked(), Reserved: c.AuxAddress})
	}
	return o, nil
}
