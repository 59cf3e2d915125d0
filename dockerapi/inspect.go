package dockerapi

import (
	"cmp"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/network"
)

// An inspection has the fields too that clients before version 1.52 read.
type inspection struct {
	*container.InspectResponse
	NetworkSettings *networkSettings
}

type networkSettings struct {
	*container.NetworkSettings
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
}

func (s *Server) inspectContainer(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Engine.Inspect(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	i := s.inspect(c)
	if queryOf(r).bool("size") {
		n, err := s.Engine.ContainerSize(r.Context(), c.ID)
		if err != nil {
			return err
		}
		total := n
		if img, err := s.Engine.Image(r.Context(), string(c.ImageID)); err == nil {
			total += img.Size
		}
		i.SizeRw, i.SizeRootFs = &n, &total
	}
	return writeJSON(w, http.StatusOK, i)
}

// inspect translates what is known of a container.
func (s *Server) inspect(c *engine.Container) *inspection {
	dir := filepath.Join(s.Engine.Root(), "containers", c.ID)
	etc := dir
	if id, ok := strings.CutPrefix(c.Config.Network, "container:"); ok {
		etc = filepath.Join(s.Engine.Root(), "containers", id)
	}
	i := &container.InspectResponse{
		ID: c.ID, Created: c.Created.Format(time.RFC3339Nano), Image: c.ImageID.String(), Name: "/" + c.Name, RestartCount: c.RestartCount,
		ResolvConfPath: filepath.Join(etc, "resolv.conf"), HostnamePath: filepath.Join(etc, "hostname"), HostsPath: filepath.Join(etc, "hosts"),
		Driver: "overlay", Platform: "linux", MountLabel: c.Config.MountLabel, ProcessLabel: c.Config.SELinux, AppArmorProfile: c.Config.AppArmor,
		ExecIDs: s.execs.of(c.ID), HostConfig: s.hostConfigOf(c), Config: configOfContainer(c), State: stateOf(&c.State), Args: []string{},
		GraphDriver: &storage.DriverData{Name: "overlay", Data: map[string]string{"UpperDir": filepath.Join(dir, "upper"), "WorkDir": filepath.Join(dir, "work")}},
	}
	if len(c.Args) > 0 {
		i.Path, i.Args = c.Args[0], c.Args[1:]
	}
	if c.State.Kept() && c.Config.LogDriver != "none" {
		i.LogPath = filepath.Join(dir, "keep")
	}
	i.Mounts = s.mountPoints(c)
	n := &networkSettings{NetworkSettings: &container.NetworkSettings{Ports: portMap(c), Networks: s.endpoints(c)}}
	if e := n.Networks["bridge"]; e != nil {
		n.EndpointID, n.IPPrefixLen, n.GlobalIPv6PrefixLen, n.MacAddress = e.EndpointID, e.IPPrefixLen, e.GlobalIPv6PrefixLen, e.MacAddress.String()
		n.Gateway, n.IPAddress, n.GlobalIPv6Address, n.IPv6Gateway = text(e.Gateway), text(e.IPAddress), text(e.GlobalIPv6Address), text(e.IPv6Gateway)
	}
	return &inspection{i, n}
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// stateName is Docker's word for a state.
func stateName(s *engine.State) container.ContainerState {
	switch {
	case s.Paused:
		return container.StatePaused
	case s.Restarting:
		return container.StateRestarting
	}
	return container.ContainerState(s.Status)
}

func stateOf(s *engine.State) *container.State {
	return &container.State{
		Status: stateName(s), Running: s.Status == engine.Running || s.Restarting, Paused: s.Paused, Restarting: s.Restarting, OOMKilled: s.OOMKilled,
		Dead: s.Status == engine.Dead, Pid: s.Pid, ExitCode: s.ExitCode, Error: s.Error,
		StartedAt: s.Started.Format(time.RFC3339Nano), FinishedAt: s.Finished.Format(time.RFC3339Nano), Health: healthOf(s.Health),
	}
}

// endpoints are the networks that a container is connected to, with its addresses while it runs.
func (s *Server) endpoints(c *engine.Container) map[string]*apinetwork.EndpointSettings {
	all := make(map[string]*apinetwork.EndpointSettings)
	for i := range c.Networks {
		at := &c.Networks[i]
		e := &apinetwork.EndpointSettings{Aliases: at.Aliases, Links: at.Links, GwPriority: at.GatewayPriority, DNSNames: append([]string{c.Name, c.ShortID()}, at.Aliases...)}
		if at.IPv4.IsValid() || at.IPv6.IsValid() {
			e.IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: at.IPv4, IPv6Address: at.IPv6}
		}
		if at.MAC != "" {
			_ = e.MacAddress.UnmarshalText([]byte(at.MAC))
		}
		n, err := s.Engine.Networks().Get(at.Network)
		if err == nil {
			e.NetworkID = n.ID
		}
		for j := range c.Endpoints {
			if end := &c.Endpoints[j]; end.Network == at.Network && c.State.Status == engine.Running {
				fillEndpoint(e, end, &n)
			}
		}
		all[at.Network] = e
	}
	if mode := c.Config.Network; mode == "host" || mode == "none" {
		all[mode] = &apinetwork.EndpointSettings{}
	}
	return all
}

func fillEndpoint(e *apinetwork.EndpointSettings, end *network.Endpoint, n *network.Network) {
	e.EndpointID = end.ID
	_ = e.MacAddress.UnmarshalText([]byte(end.MAC))
	if end.IPv4.IsValid() {
		e.IPAddress, e.IPPrefixLen = end.IPv4.Addr(), end.IPv4.Bits()
		if sub, ok := n.Subnet(false); ok {
			e.Gateway = sub.Gateway
		}
	}
	if end.IPv6.IsValid() {
		e.GlobalIPv6Address, e.GlobalIPv6PrefixLen = end.IPv6.Addr(), end.IPv6.Bits()
		if sub, ok := n.Subnet(true); ok {
			e.IPv6Gateway = sub.Gateway
		}
	}
}

// published are the ports that are bound, each address of the host that they are bound at by itself.
func published(c *engine.Container) (all []network.Port) {
	for i := range c.Endpoints {
		for _, p := range c.Endpoints[i].Ports {
			p.Protocol = cmp.Or(p.Protocol, "tcp")
			if p.Address.IsValid() {
				all = append(all, p)
				continue
			}
			for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
				p.Address = a
				all = append(all, p)
			}
		}
	}
	return all
}

func portMap(c *engine.Container) apinetwork.PortMap {
	all := make(apinetwork.PortMap)
	if c.State.Status != engine.Running {
		return all
	}
	for _, spec := range c.Exposed {
		if p, err := apinetwork.ParsePort(spec); err == nil {
			all[p] = nil
		}
	}
	for _, p := range published(c) {
		if at, ok := apinetwork.PortFrom(p.Container, apinetwork.IPProtocol(p.Protocol)); ok {
			all[at] = append(all[at], apinetwork.PortBinding{HostIP: p.Address, HostPort: portText(p.Host)})
		}
	}
	return all
}

// mountPoints are what is mounted in a container.
func (s *Server) mountPoints(c *engine.Container) []container.MountPoint {
	all := []container.MountPoint{}
	for _, m := range c.Mounts {
		p := container.MountPoint{
			Type: mount.Type(m.Type), Source: m.Source, Destination: m.Target, RW: !m.ReadOnly, Mode: m.Relabel, Propagation: mount.Propagation(m.Propagation),
		}
		switch m.Type {
		case "volume":
			p.Name, p.Driver, p.Source = m.Source, "local", ""
			if v, err := s.Engine.Volumes().Get(m.Source); err == nil {
				p.Source = v.Path
			}
		case "bind":
			p.Propagation = cmp.Or(p.Propagation, mount.PropagationRPrivate)
		case "image":
			p.RW = false
		}
		all = append(all, p)
	}
	return all
}
