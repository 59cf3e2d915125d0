package dockerapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	apinetwork "github.com/moby/moby/api/types/network"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/network"
)

func (s *Server) networkRoutes() {
	s.handle("GET /networks", s.listNetworks)
	s.handle("POST /networks/create", s.createNetwork)
	s.handle("POST /networks/prune", s.pruneNetworks)
	s.handle("GET /networks/{id}", s.inspectNetwork)
	s.handle("DELETE /networks/{id}", s.removeNetwork)
	s.handle("POST /networks/{id}/connect", s.connectNetwork)
	s.handle("POST /networks/{id}/disconnect", s.disconnectNetwork)
}

// networkOf translates a network.
func networkOf(n *network.Network) apinetwork.Network {
	a := apinetwork.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: string(n.Driver), Internal: n.Internal,
		IPAM: apinetwork.IPAM{Driver: "default", Config: []apinetwork.IPAMConfig{}}, Options: n.Options, Labels: n.Labels,
	}
	_, a.EnableIPv4 = n.Subnet(false)
	_, a.EnableIPv6 = n.Subnet(true)
	for _, sub := range n.Subnets {
		a.IPAM.Config = append(a.IPAM.Config, apinetwork.IPAMConfig{
			Subnet: sub.Prefix, IPRange: sub.Range, Gateway: sub.Gateway, AuxAddress: sub.Reserved,
		})
	}
	if a.Options == nil {
		a.Options = map[string]string{}
	}
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	return a
}

// endpointsOf translates a network's endpoints, by their containers' IDs.
func endpointsOf(list []network.Endpoint) map[string]apinetwork.EndpointResource {
	all := make(map[string]apinetwork.EndpointResource)
	for _, e := range list {
		at := apinetwork.EndpointResource{EndpointID: e.ID, IPv4Address: e.IPv4, IPv6Address: e.IPv6}
		if len(e.Names) > 0 {
			at.Name = e.Names[0]
		}
		_ = at.MacAddress.UnmarshalText([]byte(e.MAC)) // it is the store's own
		all[e.Sandbox] = at
	}
	return all
}

func (s *Server) listNetworks(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return err
	}
	dangling, err := f.flag("dangling")
	if err != nil {
		return err
	}
	for _, t := range f["type"] {
		if t != "custom" && t != "builtin" {
			return badRequest("invalid filter: 'type'='%s'", t)
		}
	}
	list, err := s.Engine.ListNetworks(r.Context())
	if err != nil {
		return err
	}
	var used map[string]bool
	if dangling != nil {
		if used, err = s.Engine.UsedNetworks(r.Context()); err != nil {
			return err
		}
	}
	answer := []any{}
	for i := range list {
		n := &list[i]
		if !f.network(n) || dangling != nil && (engine.PredefinedNetwork(n.Name) || used[n.Name] == *dangling) {
			continue
		}
		if versionOf(r) >= mustVersion("1.28") {
			answer = append(answer, &apinetwork.Inspect{Network: networkOf(n), Containers: map[string]apinetwork.EndpointResource{}})
			continue
		}
		endpoints, err := s.Engine.NetworkEndpoints(r.Context(), n.Name)
		if err != nil {
			return err
		}
		answer = append(answer, &apinetwork.Inspect{Network: networkOf(n), Containers: endpointsOf(endpoints)})
	}
	return writeJSON(w, http.StatusOK, answer)
}

// network says whether a network is what the filters ask for, but for dangling.
func (f filters) network(n *network.Network) bool {
	kind := "custom"
	if engine.PredefinedNetwork(n.Name) {
		kind = "builtin"
	}
	is := func(have string) func(string) bool { return func(want string) bool { return have == want } }
	has := func(have string) func(string) bool {
		return func(want string) bool { return strings.Contains(have, want) }
	}
	return f.allows("driver", is(string(n.Driver))) && f.allows("id", has(n.ID)) && f.allows("name", has(n.Name)) &&
		f.allows("scope", is("local")) && f.allows("type", is(kind)) && f.labels(n.Labels)
}

func (s *Server) inspectNetwork(w http.ResponseWriter, r *http.Request) error {
	if verbose := queryOf(r).Get("verbose"); verbose != "" { // that is for services, which there are none of
		if _, err := strconv.ParseBool(verbose); err != nil {
			return badRequest("invalid value for verbose: %s", verbose)
		}
	}
	n, err := s.Engine.FindNetwork(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if scope := queryOf(r).Get("scope"); scope != "" && scope != "local" {
		return failure(http.StatusNotFound, "network %s not found", r.PathValue("id"))
	}
	endpoints, err := s.Engine.NetworkEndpoints(r.Context(), n.Name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, &apinetwork.Inspect{Network: networkOf(&n), Containers: endpointsOf(endpoints)})
}

func (s *Server) removeNetwork(w http.ResponseWriter, r *http.Request) error {
	if err := s.Engine.RemoveNetwork(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) pruneNetworks(w http.ResponseWriter, r *http.Request) error {
	f, err := queryOf(r).filters("until", "label", "label!")
	if err != nil {
		return err
	}
	var until time.Time
	if values := f["until"]; len(values) > 0 {
		times, err := image.ParseFilter([]string{"until=" + values[0]})
		if err != nil || len(values) > 1 {
			return badRequest("invalid filter 'until=%s'", strings.Join(values, ","))
		}
		until = times.Until
	}
	removed, err := s.Engine.PruneNetworks(r.Context(), &network.PruneOptions{Keep: func(n network.Network) bool {
		return !f.labels(n.Labels) || !until.IsZero() && !n.Created.Before(until)
	}})
	if err != nil {
		return err
	}
	slices.Sort(removed)
	return writeJSON(w, http.StatusOK, &apinetwork.PruneReport{NetworksDeleted: append([]string{}, removed...)})
}

// connectNetwork connects a container to a network.
func (s *Server) connectNetwork(w http.ResponseWriter, r *http.Request) error {
	q := &apinetwork.ConnectRequest{}
	if err := s.readJSON(w, r, q, false); err != nil {
		return err
	}
	at, err := connectionOf(r.PathValue("id"), q.EndpointConfig)
	if err != nil {
		return err
	}
	if err := s.Engine.Connect(r.Context(), q.Container, at); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// disconnectNetwork disconnects a container from a network. An endpoint goes with its container: there is nothing left behind that
// Force would have to take.
func (s *Server) disconnectNetwork(w http.ResponseWriter, r *http.Request) error {
	q := &apinetwork.DisconnectRequest{}
	if err := s.readJSON(w, r, q, false); err != nil {
		return err
	}
	if err := s.Engine.Disconnect(r.Context(), q.Container, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
