package dockerapi

import (
	"cmp"
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

func (s *Server) listContainers(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	f, err := q.filters("ancestor", "before", "expose", "exited", "health", "id", "is-task", "label", "name", "network", "publish", "since", "status", "volume")
	if err != nil {
		return err
	}
	limit, err := q.int("limit", 0)
	if err != nil {
		return err
	}
	list, err := s.Engine.List(r.Context())
	if err != nil {
		return err
	}
	l, err := s.newLister(r, f)
	if err != nil {
		return err
	}
	all := q.bool("all") || limit > 0 || len(f["status"]) > 0 || len(f["exited"]) > 0
	summaries := []*container.Summary{}
	for _, c := range list {
		if !all && c.State.Status != engine.Running && !c.State.Restarting || !l.wants(c) {
			continue
		}
		if limit > 0 && len(summaries) == limit {
			break
		}
		sum := s.summary(c)
		if q.bool("size") {
			n, err := s.Engine.ContainerSize(r.Context(), c.ID)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			sum.SizeRw, sum.SizeRootFs = n, n
			if img, err := s.Engine.Image(r.Context(), string(c.ImageID)); err == nil {
				sum.SizeRootFs += img.Size
			}
		}
		summaries = append(summaries, sum)
	}
	return writeJSON(w, http.StatusOK, summaries)
}

// A lister has filters of containers.
type lister struct {
	filters
	s             *Server
	names         []*regexp.Regexp
	images        map[string]bool // IDs of the images asked for
	before, since *engine.Container
}

func (s *Server) newLister(r *http.Request, f filters) (*lister, error) {
	l := &lister{filters: f, s: s, images: make(map[string]bool)}
	for _, text := range f["name"] {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, badRequest("invalid filter 'name=%s'", text)
		}
		l.names = append(l.names, re)
	}
	for _, text := range f["exited"] {
		if _, err := strconv.Atoi(text); err != nil {
			return nil, badRequest("invalid filter 'exited=%s'", text)
		}
	}
	for _, text := range f["status"] {
		if err := container.ValidateContainerState(container.ContainerState(text)); err != nil {
			return nil, badRequest("invalid filter 'status=%s'", text)
		}
	}
	for _, text := range f["health"] {
		if err := container.ValidateHealthStatus(container.HealthStatus(text)); err != nil {
			return nil, badRequest("invalid filter 'health=%s'", text)
		}
	}
	for _, ref := range f["ancestor"] {
		if img, err := s.Engine.Image(r.Context(), ref); err == nil {
			l.images[img.ID.String()] = true
		}
	}
	for key, to := range map[string]**engine.Container{"before": &l.before, "since": &l.since} {
		for _, ref := range f[key] {
			c, err := s.Engine.Inspect(r.Context(), ref)
			if err != nil {
				return nil, err
			}
			*to = c
		}
	}
	return l, nil
}

func (l *lister) wants(c *engine.Container) bool {
	if l.before != nil && !c.Created.Before(l.before.Created) || l.since != nil && !c.Created.After(l.since.Created) {
		return false
	}
	if len(l.names) > 0 && !slices.ContainsFunc(l.names, func(re *regexp.Regexp) bool { return re.MatchString(c.Name) || re.MatchString("/"+c.Name) }) {
		return false
	}
	return l.labels(c.Labels) &&
		l.allows("id", func(v string) bool { return strings.HasPrefix(c.ID, v) }) &&
		l.allows("status", func(v string) bool { return string(stateName(&c.State)) == v }) &&
		l.allows("exited", func(v string) bool { return c.State.Status == engine.Exited && strconv.Itoa(c.State.ExitCode) == v }) &&
		l.allows("health", func(v string) bool { return v == string(healthStatus(c)) }) &&
		l.allows("is-task", func(v string) bool { return !query{map[string][]string{"v": {v}}}.bool("v") }) &&
		l.allows("ancestor", func(v string) bool {
			return l.images[c.ImageID.String()] || registry.Familiar(c.Config.Image) == registry.Familiar(v)
		}) &&
		l.allows("volume", func(v string) bool {
			return slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool { return m.Source == v || m.Target == v })
		}) &&
		l.allows("network", func(v string) bool {
			name := l.s.networkName(v)
			return c.Config.Network == v || slices.ContainsFunc(c.Networks, func(at engine.Connection) bool { return at.Network == name })
		}) &&
		l.allows("publish", func(v string) bool { return hasPort(v, summaryPorts(c), true) }) &&
		l.allows("expose", func(v string) bool { return hasPort(v, summaryPorts(c), false) })
}

// hasPort says whether a port, or a range of ports, of a filter is among those of a container.
func hasPort(filter string, ports []container.PortSummary, public bool) bool {
	span, protocol, _ := strings.Cut(filter, "/")
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		last = first
	}
	from, err := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	return err == nil && err2 == nil && slices.ContainsFunc(ports, func(p container.PortSummary) bool {
		n := int(p.PrivatePort)
		if public {
			n = int(p.PublicPort)
		}
		return n != 0 && n >= from && n <= to && p.Type == cmp.Or(protocol, "tcp")
	})
}

// summaryPorts are the ports as ps shows them.
func summaryPorts(c *engine.Container) []container.PortSummary {
	all := []container.PortSummary{}
	for at, bindings := range portMap(c) {
		p := container.PortSummary{PrivatePort: at.Num(), Type: string(at.Proto())}
		if len(bindings) == 0 {
			all = append(all, p)
		}
		for _, b := range bindings {
			n, _ := strconv.ParseUint(b.HostPort, 10, 16)
			p.IP, p.PublicPort = b.HostIP, uint16(n)
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), a.IP.Compare(b.IP))
	})
	return all
}

// commandLine shows a command as Docker does.
func commandLine(args []string) string {
	quoted := slices.Clone(args)
	for i := 1; i < len(args); i++ {
		if strings.Contains(args[i], " ") {
			quoted[i] = "'" + args[i] + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// summary is a line of the list.
func (s *Server) summary(c *engine.Container) *container.Summary {
	sum := &container.Summary{
		ID: c.ID, Names: []string{"/" + c.Name}, Image: c.Config.Image, ImageID: c.ImageID.String(), Command: commandLine(c.Args),
		Created: c.Created.Unix(), Ports: summaryPorts(c), Labels: c.Labels, State: stateName(&c.State), Status: c.State.String(),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: s.endpoints(c)}, Mounts: s.mountPoints(c),
	}
	if sum.Labels == nil {
		sum.Labels = map[string]string{}
	}
	sum.HostConfig.NetworkMode, sum.HostConfig.Annotations = c.Config.Network, c.Config.Annotations
	return sum
}
