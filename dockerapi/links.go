package dockerapi

import (
	"context"
	"strings"

	"github.com/caisson-engine/caisson/engine"
)

// linksOf shows the containers that one calls by another name, as Docker does: "/name:/one/alias". One that is not there any more is left out.
func (s *Server) linksOf(c *engine.Container) (all []string) {
	for _, link := range c.Config.Links {
		id, alias, _ := strings.Cut(link, ":")
		if to, err := s.Engine.Inspect(context.Background(), id); err == nil {
			all = append(all, "/"+to.Name+":/"+c.Name+"/"+alias)
		}
	}
	return all
}
