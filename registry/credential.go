package registry

import (
	"context"
	"encoding/base64"
)

// A Credential is what a registry or its token server is shown. The zero value is anonymous.
type Credential struct {
	// Username and Password are for basic authentication, at the registry or at its token server.
	Username, Password string
	// IdentityToken is a refresh token that the token server exchanges for access tokens (OAuth 2).
	IdentityToken string
	// RegistryToken is sent to the registry as it is, as a bearer token.
	RegistryToken string
}

// IsZero says that there is no credential.
func (c Credential) IsZero() bool { return c == Credential{} }

func (c Credential) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// credential asks the Credentials hook for a registry's credential.
func (c *Client) credential(ctx context.Context, host string) (Credential, error) {
	if c.Credentials == nil {
		return Credential{}, nil
	}
	return c.Credentials(ctx, host)
}
