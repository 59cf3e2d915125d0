package dockerapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	apiregistry "github.com/moby/moby/api/types/registry"

	"github.com/caisson-engine/caisson/registry"
)

// remote reads a name that stands in a registry, and the credential that the request has for that.
func remote(r *http.Request, name string) (ref registry.Reference, cred registry.Credential, err error) {
	if ref, err = registry.ParseReference(name); err == nil {
		cred, err = credentialFor(r, ref.Host)
	}
	return ref, cred, err
}

// credentialFor reads the credential that a request has for the registry host. One that says it is for another registry is refused:
// nobody is shown what is not theirs.
func credentialFor(r *http.Request, host string) (registry.Credential, error) {
	a, err := decodeAuth(r.Header.Get(apiregistry.AuthHeader))
	if err != nil {
		return registry.Credential{}, err
	}
	cred, err := credentialOf(a)
	if err == nil && !cred.IsZero() && a.ServerAddress != "" && registry.HostOf(a.ServerAddress) != host {
		return registry.Credential{}, badRequest("%s is for the registry %s, and not for %s", apiregistry.AuthHeader,
			registry.HostOf(a.ServerAddress), host)
	}
	return cred, err
}

// decodeAuth reads the header's value: JSON in base64, whose alphabet and padding clients differ about. Nothing is anonymous.
func decodeAuth(header string) (*apiregistry.AuthConfig, error) {
	a := &apiregistry.AuthConfig{}
	if header == "" {
		return a, nil
	}
	text := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(header, "="))
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, badRequest("invalid %s header: no base64", apiregistry.AuthHeader)
	}
	if len(b) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(b, a); err != nil { // whose message might have a part of the secret
		return nil, badRequest("invalid %s header: no JSON of a credential", apiregistry.AuthHeader)
	}
	return a, nil
}

// credentialOf translates a credential.
func credentialOf(a *apiregistry.AuthConfig) (registry.Credential, error) {
	c := registry.Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth == "" || c.Username != "" || c.Password != "" {
		return c, nil // auth is the two together
	}
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	name, password, ok := strings.Cut(string(b), ":")
	if err != nil || !ok {
		return c, badRequest("invalid credential: auth is no name and password in base64")
	}
	c.Username, c.Password = name, strings.TrimRight(password, "\x00")
	return c, nil
}
