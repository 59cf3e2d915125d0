package dockerapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/image"
	"github.com/caisson-engine/caisson/registry"
)

// createImage pulls an image, or makes one of a root file system.
func (s *Server) createImage(w http.ResponseWriter, r *http.Request) error {
	if queryOf(r).Get("fromImage") == "" {
		return s.importImage(w, r)
	}
	return s.pullImage(w, r)
}

// pullImage pulls an image, or with no tag all of a repository. A client that hangs up ends it; what was fetched whole is of use to the
// next pull.
func (s *Server) pullImage(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	name, tag := strings.TrimSuffix(q.Get("fromImage"), ":"), q.Get("tag")
	ref, cred, err := remote(r, name)
	if err != nil {
		return err
	}
	o := &engine.PullOptions{Credential: cred}
	if versionOf(r) >= mustVersion("1.32") {
		o.Platform = q.Get("platform")
	}
	var tags []string
	switch {
	case tag != "" && digest.Digest(tag).Validate() == nil:
		name = ref.Name() + "@" + tag
	case tag != "":
		name = ref.Name() + ":" + tag
	case !named(name):
		if tags, err = s.Engine.Tags(r.Context(), name, cred); err != nil {
			return registryError(ref, err)
		}
	}
	names := []string{name}
	if tags != nil {
		names = nil
		for _, t := range tags {
			names = append(names, ref.Name()+":"+t)
		}
	}
	m := &messages{w: w}
	for _, n := range names {
		if ref, err = registry.ParseReference(n); err != nil {
			return m.end(err)
		}
		o.Progress = m.held()
		if _, err := s.Engine.Pull(r.Context(), n, o); err != nil {
			return m.end(registryError(ref, err))
		}
	}
	return m.end(nil)
}

// registryError says of a registry's refusal what Docker says.
func registryError(ref registry.Reference, err error) error {
	var platform *image.PlatformError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &platform):
		return failure(http.StatusNotFound, "no matching manifest for %s in the manifest list entries: %w", platform.Want, err)
	case errors.Is(err, registry.ErrUnauthorized), errors.Is(err, registry.ErrDenied):
		return failure(http.StatusNotFound, "pull access denied for %s, repository does not exist or may require 'docker login': denied: %w",
			ref.FamiliarName(), err)
	case errors.Is(err, registry.ErrNotFound):
		return failure(http.StatusNotFound, "manifest for %s not found: manifest unknown: %w", ref.Familiar(), err)
	}
	return err
}

// pushImage pushes an image, or with no tag all those of a repository.
func (s *Server) pushImage(w http.ResponseWriter, r *http.Request, name string) error {
	q := queryOf(r)
	if tag := q.Get("tag"); tag != "" {
		if named(name) {
			return badRequest("invalid reference format: %s has a tag already", name)
		}
		name += ":" + tag
	}
	ref, cred, err := remote(r, name)
	if err != nil {
		return err
	}
	platform, err := q.platform(r, "1.46")
	if err != nil {
		return err
	}
	names := []string{name}
	if !named(name) {
		if names, err = s.namesIn(r.Context(), ref); err != nil {
			return err
		}
	}
	m := &messages{w: w}
	m.status("The push refers to repository [" + ref.Name() + "]")
	if len(names) == 0 {
		return m.end(failure(http.StatusNotFound, "An image does not exist locally with the tag: %s", ref.FamiliarName()))
	}
	for _, n := range names {
		if err := s.push(r.Context(), m, n, &engine.PushOptions{Platform: platform, Credential: cred, Progress: m.event}); err != nil {
			return m.end(err)
		}
	}
	return m.end(nil)
}

func (s *Server) push(ctx context.Context, m *messages, name string, o *engine.PushOptions) error {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return err
	}
	d, err := s.Engine.Push(ctx, name, o)
	var missing *engine.Error
	if errors.As(err, &missing) && missing.Kind == engine.NotFound && missing.Err == nil {
		return failure(http.StatusNotFound, "An image does not exist locally with the tag: %s", ref.FamiliarName())
	}
	if err != nil {
		return err
	}
	size, err := s.Engine.ManifestSize(d)
	if err != nil {
		return err
	}
	if ref.Tag == "" {
		return nil
	}
	m.status(ref.Tag + ": digest: " + d.String() + " size: " + decimal(size))
	return m.aux(&struct {
		Tag, Digest string
		Size        int64
	}{ref.Tag, d.String(), size})
}

// namesIn are the names with tags that images here have in a repository.
func (s *Server) namesIn(ctx context.Context, ref registry.Reference) (names []string, err error) {
	list, err := s.Engine.SearchImages(ctx, &image.Filter{References: []string{ref.FamiliarName()}})
	for _, i := range list {
		for _, n := range i.Names {
			if r, err := registry.ParseReference(n); err == nil && r.Tag != "" && r.Name() == ref.Name() {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return names, err
}
