package engine

import (
	"context"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/caisson-engine/caisson/network"
)

// maxAlias is how long a name may be, in bytes, by which a container calls another.
const maxAlias = 253

// cutLink splits a link: "name:alias", or "name", or as Docker's clients hand back what inspect shows, "/name:/other/alias".
func cutLink(link string) (name, alias string, err error) {
	name, alias, _ = strings.Cut(link, ":")
	name = strings.TrimPrefix(name, "/")
	if alias == "" {
		alias = name
	}
	alias = path.Base(alias)
	if !validName(name) || !isName(alias) || len(alias) > maxAlias {
		return "", "", invalid("bad format for links: %s", link)
	}
	return name, alias, nil
}

// linksOf are links as [network.EndpointOptions] has them: an ID's first digits are a name on every network.
func linksOf(links []string) (map[string]string, error) {
	all := make(map[string]string, len(links))
	for _, link := range links {
		name, alias, err := cutLink(link)
		if err != nil {
			return nil, err
		}
		if isID(name) {
			name = shortID(name)
		}
		all[alias] = name
	}
	return all, nil
}

// resolveLinks puts the containers' IDs in place of the names that Links has for them.
func (e *Engine) resolveLinks(cfg *Config) error {
	links := make([]string, 0, len(cfg.Links))
	for _, link := range cfg.Links {
		name, alias, err := cutLink(link)
		if err != nil {
			return err
		}
		id, err := e.resolve(name)
		if err != nil {
			return invalid("could not get container for %s: %v", name, err)
		}
		links = append(links, id+":"+alias)
	}
	if len(links) > 0 {
		cfg.Links = links
	}
	return nil
}

// linkEnv is what a container on the default network learns of its Links by its environment.
func (e *Engine) linkEnv(ctx context.Context, rec *Container) (env []string) {
	if rec.Config.Network != defaultNetwork {
		return nil
	}
	for _, link := range rec.Config.Links {
		id, alias, err := cutLink(link)
		if err != nil {
			continue
		}
		to, err := e.load(ctx, id)
		if err != nil || to.State.Status != Running {
			continue
		}
		i := slices.IndexFunc(to.Endpoints, func(end network.Endpoint) bool { return end.Network == defaultNetwork && end.IPv4.IsValid() })
		if i >= 0 {
			env = append(env, to.asLink(rec.Name, alias, to.Endpoints[i].IPv4.Addr())...)
		}
	}
	return slices.DeleteFunc(env, func(v string) bool { // Env goes before them
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(rec.Env, func(own string) bool { return strings.HasPrefix(own, name+"=") })
	})
}

// asLink is the environment by which the container is known to the one that links it.
func (c *Container) asLink(parent, alias string, at netip.Addr) (env []string) {
	prefix := strings.ReplaceAll(strings.ToUpper(alias), "-", "_")
	set := func(name, value string) { env = append(env, prefix+name+"="+value) }
	for i, port := range c.Exposed {
		number, protocol, _ := strings.Cut(port, "/")
		url := protocol + "://" + at.String() + ":" + number
		if i == 0 {
			set("_PORT", url)
		}
		name := "_PORT_" + number + "_" + strings.ToUpper(protocol)
		set(name, url)
		set(name+"_ADDR", at.String())
		set(name+"_PORT", number)
		set(name+"_PROTO", protocol)
	}
	set("_NAME", "/"+parent+"/"+alias)
	for _, v := range c.Env {
		if name, value, _ := strings.Cut(v, "="); name != "PATH" && name != "HOME" && name != "HOSTNAME" && name != "TERM" {
			set("_ENV_"+name, value)
		}
	}
	return env
}
