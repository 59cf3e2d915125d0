package dockerapi

import (
	"errors"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	apiregistry "github.com/moby/moby/api/types/registry"

	"github.com/caisson-engine/caisson/registry"
)

func (s *Server) registryRoutes() {
	s.handle("POST /auth", s.login)
	s.handle("GET /distribution/{rest...}", s.inspectDistribution)
	s.absent("search of registries", "GET /images/search")
}

// login asks a registry whether it takes a credential, which is kept by the client alone.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	a := &apiregistry.AuthConfig{}
	if err := s.readJSON(w, r, a, false); err != nil {
		return err
	}
	cred, err := credentialOf(a)
	if err != nil {
		return err
	}
	err = s.Engine.Login(r.Context(), registry.HostOf(a.ServerAddress), cred)
	switch {
	case errors.Is(err, registry.ErrUnauthorized), errors.Is(err, registry.ErrDenied):
		return failure(http.StatusUnauthorized, "login attempt to %s failed: %w", registry.HostOf(a.ServerAddress), err)
	case err != nil:
		return err
	}
	return writeJSON(w, http.StatusOK, &apiregistry.AuthResponse{Status: "Login Succeeded"})
}

// inspectDistribution says what a registry has under a name.
func (s *Server) inspectDistribution(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(r.PathValue("rest"), "/json")
	if !ok {
		return errNoPage
	}
	ref, cred, err := remote(r, name)
	if err != nil {
		return err
	}
	i, err := s.Engine.RemoteImage(r.Context(), name, cred)
	if err != nil {
		return registryError(ref, err)
	}
	answer := &apiregistry.DistributionInspect{Descriptor: i.Descriptor, Platforms: i.Platforms}
	if answer.Platforms == nil {
		answer.Platforms = []ocispec.Platform{}
	}
	return writeJSON(w, http.StatusOK, answer)
}
