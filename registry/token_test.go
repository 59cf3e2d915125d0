package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
)

// A tokenServer gives out tokens that name their scope, and a registry behind it checks them.
type tokenServer struct {
	user, password string // empty gives tokens to everybody
	identity       string // accepted as a refresh token
	ttl            int    // seconds
	answer         string // in place of a token's JSON

	mu     sync.Mutex
	asked  []url.Values
	auths  []string
	revoke bool // the next request at the registry finds its token refused
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.asked, s.auths = append(s.asked, r.Form), append(s.auths, r.Header.Get("Authorization"))
	number := len(s.asked)
	s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	byIdentity := s.identity != "" && r.Method == http.MethodPost && r.PostForm.Get("refresh_token") == s.identity
	if s.user != "" && !byIdentity && (user != s.user || password != s.password) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.answer != "" {
		fmt.Fprint(w, s.answer)
		return
	}
	token := fmt.Sprintf("for.%s#%d", strings.Join(strings.Fields(strings.Join(r.Form["scope"], " ")), "+"), number)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": s.ttl})
}

// protect serves a registry that wants tokens of the realm, and returns its host.
func (s *tokenServer) protect(t testing.TB, realm string, store Store) string {
	return newServer(t, s.handler(realm, store))
}

func (s *tokenServer) handler(realm string, store Store) http.Handler {
	return &Server{Store: store, Authorize: func(r *http.Request, repository, action string) error {
		challenge := fmt.Sprintf(`Bearer realm="%s",service="registry.test"`, realm)
		want := "Bearer for."
		if repository != "" {
			scope := "repository:" + repository + ":" + map[string]string{"pull": "pull", "push": "pull,push"}[action]
			challenge += `,scope="` + scope + `"`
			want = "Bearer for." + "repository:" + repository + ":pull"
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.revoke || !strings.HasPrefix(r.Header.Get("Authorization"), want) {
			s.revoke = false
			return &Error{Status: 401, Code: CodeUnauthorized, Challenge: challenge}
		}
		return nil
	}}
}

func always(c Credential) func(context.Context, string) (Credential, error) {
	return func(context.Context, string) (Credential, error) { return c, nil }
}

func TestBearer(t *testing.T) {
	s := &tokenServer{user: "ann", password: "s3cret", ttl: 300}
	realm := "http://" + newServer(t, s) + "/token"
	c := newClient(t)
	c.Credentials = always(Credential{Username: "ann", Password: "s3cret"})
	ref := parse(t, s.protect(t, realm, nil)+"/team/app:1")
	_, desc := pushImage(t, c, ref, []byte("layer"))
	require.NoError(t, c.Ping(t.Context(), ref.Host))

	s.asked = nil
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := readBlob(t, c, ref, desc); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, s.asked, 1, "one token serves all that need the same")
	require.Equal(t, "registry.test", s.asked[0].Get("service"))
	require.Equal(t, []string{"repository:team/app:pull"}, s.asked[0]["scope"])
	require.Equal(t, "ann", s.asked[0].Get("account"))

	s.revoke = true
	_, err := readBlob(t, c, ref, desc)
	require.NoError(t, err)
	require.Len(t, s.asked, 2, "a refused token is replaced")
}

func TestBearerExpires(t *testing.T) {
	s := &tokenServer{ttl: 300}
	realm := "http://" + newServer(t, s) + "/token"
	c := newClient(t)
	host := s.protect(t, realm, nil)
	require.NoError(t, c.Ping(t.Context(), host))
	require.NoError(t, c.Ping(t.Context(), host))
	require.Len(t, s.asked, 1)
	for _, e := range c.tokens.entries {
		e.expires = e.expires.AddDate(0, 0, -1)
	}
	require.NoError(t, c.Ping(t.Context(), host))
	require.Len(t, s.asked, 2)
}

func TestIdentityToken(t *testing.T) {
	s := &tokenServer{user: "nobody", identity: "refresh-me"}
	realm := "http://" + newServer(t, s) + "/token"
	c := newClient(t)
	c.Credentials = always(Credential{IdentityToken: "refresh-me"})
	pushImage(t, c, parse(t, s.protect(t, realm, nil)+"/app"), []byte("x"))
	require.Equal(t, "refresh_token", s.asked[0].Get("grant_type"))
	for _, a := range s.auths {
		require.Empty(t, a)
	}
}

func TestRegistryToken(t *testing.T) {
	s := &tokenServer{}
	c := newClient(t)
	c.Credentials = always(Credential{RegistryToken: "for."})
	require.NoError(t, c.Ping(t.Context(), s.protect(t, "http://127.0.0.1:1/never-asked", nil)))
}

func TestCredentialsRefused(t *testing.T) {
	s := &tokenServer{user: "ann", password: "s3cret"}
	realm := "http://" + newServer(t, s) + "/token"
	ref := parse(t, s.protect(t, realm, nil)+"/app")
	c := newClient(t)
	_, _, err := c.Manifest(t.Context(), ref)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.ErrorContains(t, err, "log in")
	c = newClient(t)
	c.Credentials = always(Credential{Username: "ann", Password: "wrong"})
	_, _, err = c.Manifest(t.Context(), ref)
	require.ErrorIs(t, err, ErrUnauthorized)
	require.ErrorContains(t, err, `refused the credential of user "ann"`)
	require.NotContains(t, err.Error(), "wrong")

	// The registry itself refuses the token.
	denied := newServer(t, &Server{Authorize: func(*http.Request, string, string) error { return ErrDenied }})
	_, _, err = newClient(t).Manifest(t.Context(), parse(t, denied+"/app"))
	require.ErrorIs(t, err, ErrDenied)
	require.ErrorContains(t, err, "no credential for "+denied)
}

func TestBasic(t *testing.T) {
	host := newServer(t, &Server{Authorize: func(r *http.Request, _, _ string) error {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "s3cret" {
			return ErrUnauthorized
		}
		return nil
	}})
	c := newClient(t)
	c.Credentials = always(Credential{Username: "ann", Password: "s3cret"})
	pushImage(t, c, parse(t, host+"/app"), []byte("x"))
	for _, credential := range []Credential{{}, {Username: "ann", Password: "no"}} {
		c := newClient(t)
		c.Credentials = always(credential)
		require.ErrorIs(t, c.Ping(t.Context(), host), ErrUnauthorized)
	}
	c = newClient(t)
	c.Credentials = func(context.Context, string) (Credential, error) {
		return Credential{}, fmt.Errorf("keychain is locked")
	}
	require.ErrorContains(t, c.Ping(t.Context(), host), "keychain is locked")
}

func TestHostileTokenServers(t *testing.T) {
	for name, test := range map[string]struct{ realm, answer, want string }{
		"not a URL":       {"ftp://x/", "", "not an http(s) address"},
		"relative":        {"/token", "", "not an http(s) address"},
		"user in URL":     {"http://u:p@127.0.0.1/", "", "not an http(s) address"},
		"endless":         {"", strings.Repeat(" ", maxTokenAnswer+1), "longer than"},
		"not JSON":        {"", "<html>", "not JSON"},
		"empty":           {"", "{}", "holds no token"},
		"header in it":    {"", `{"token":"a\r\nX: y"}`, "holds no token"},
		"nothing listens": {"http://127.0.0.1:1/token", "", "nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &tokenServer{answer: test.answer}
			realm := or(test.realm, "http://"+newServer(t, s)+"/token")
			err := newClient(t).Ping(t.Context(), s.protect(t, realm, nil))
			require.ErrorContains(t, err, test.want)
		})
	}
}

// A spy records what it is shown.
type spy struct {
	mu   sync.Mutex
	seen []string
	then http.HandlerFunc
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.seen = append(s.seen, r.Header.Get("Authorization")+r.Header.Get("Referer")+r.PostForm.Get("refresh_token"))
	s.mu.Unlock()
	if s.then != nil {
		s.then(w, r)
	}
}

func (s *spy) requireNothing(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, s.seen, "never asked")
	for _, seen := range s.seen {
		require.Empty(t, seen)
	}
}

var secret = Credential{Username: "ann", Password: "s3cret"}

// TestForeignRealm has a registry on an unverified connection name a token server elsewhere (the kind of CVE-2020-15157).
func TestForeignRealm(t *testing.T) {
	for _, credential := range []Credential{secret, {IdentityToken: "refresh-me"}} {
		s := &spy{then: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }}
		realm := strings.Replace("http://"+newServer(t, s)+"/token", "127.0.0.1", "localhost", 1)
		c := newClient(t)
		c.Credentials = always(credential)
		err := c.Ping(t.Context(), new(tokenServer).protect(t, realm, nil))
		require.ErrorIs(t, err, ErrUnauthorized)
		require.ErrorContains(t, err, "was not sent there")
		s.requireNothing(t)
	}
}

// TestPlainRealm has a verified registry name a token server without TLS: that is refused altogether.
func TestPlainRealm(t *testing.T) {
	s := new(spy)
	encrypted := httptest.NewTLSServer(new(tokenServer).handler("http://"+newServer(t, s)+"/token", nil))
	defer encrypted.Close()
	c := newClient(t)
	c.HTTP = encrypted.Client()
	c.HTTP.Transport.(*http.Transport).DialContext = dialing(new(Client), encrypted.Listener.Addr().String()).HTTP.Transport.(*http.Transport).DialContext
	c.Credentials = always(secret)
	err := c.Ping(t.Context(), "example.com") // which httptest's certificate is for
	require.ErrorContains(t, err, "does not use https: refused")
	require.Empty(t, s.seen)
}

// TestRedirectedBlob has a registry send a blob's reader elsewhere, to a place that asks for credentials in its own
// name.
func TestRedirectedBlob(t *testing.T) {
	content := []byte("content")
	for name, test := range map[string]struct {
		then http.HandlerFunc
		err  error
	}{
		"serves": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }, nil},
		"asks": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
			w.WriteHeader(401)
		}, ErrUnauthorized},
		"asks for a password": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
		}, ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := &spy{then: test.then}
			to := newServer(t, elsewhere)
			host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(401)
					return
				}
				http.Redirect(w, r, "http://"+to+"/signed?secret=1", http.StatusTemporaryRedirect)
			}))
			c := newClient(t)
			c.Credentials = always(secret)
			_, err := readBlob(t, c, parse(t, host+"/app"), describing("", content))
			if test.err == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, test.err)
				require.ErrorContains(t, err, "are not sent to "+to)
			}
			elsewhere.requireNothing(t)
		})
	}
}

// TestTokenServerRedirects has the token server send the client on.
func TestTokenServerRedirects(t *testing.T) {
	for _, credential := range []Credential{secret, {IdentityToken: "refresh-me"}} {
		elsewhere := new(spy)
		to := newServer(t, elsewhere)
		server := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+to, http.StatusTemporaryRedirect)
		}))
		c := newClient(t)
		c.Credentials = always(credential)
		err := c.Ping(t.Context(), new(tokenServer).protect(t, "http://"+server+"/token", nil))
		require.ErrorContains(t, err, "to another origin")
		require.Empty(t, elsewhere.seen)
	}
}

// TestUploadElsewhere has the registry want an upload to go to another origin.
func TestUploadElsewhere(t *testing.T) {
	elsewhere := &spy{then: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }}
	to := newServer(t, elsewhere)
	registry := &Server{Authorize: func(r *http.Request, _, _ string) error {
		if r.Header.Get("Authorization") == "" {
			return ErrUnauthorized
		}
		return nil
	}}
	host := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Authorization") != "" {
			w.Header().Set("Location", "http://"+to+"/put?signature=x")
			w.WriteHeader(http.StatusAccepted)
			return
		}
		registry.ServeHTTP(w, r)
	}))
	c := newClient(t)
	c.Credentials = always(secret)
	out, err := c.PushBlob(t.Context(), parse(t, host+"/app"), BlobUpload{
		Descriptor: describing(ocispec.MediaTypeImageLayer, []byte("x")), Content: strings.NewReader("x"),
	})
	require.NoError(t, err)
	require.Equal(t, BlobUploaded, out)
	elsewhere.requireNothing(t)
}

// TestMirrorCredentials has a mirror ask for credentials: it gets its own, not the registry's.
func TestMirrorCredentials(t *testing.T) {
	mirror := &spy{then: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	}}
	mirrorHost, host := newServer(t, mirror), newServer(t, new(Server))
	c := newClient(t)
	c.Mirrors = map[string][]string{host: {"http://" + mirrorHost}}
	c.Credentials = func(_ context.Context, of string) (Credential, error) {
		if of == host {
			return secret, nil
		}
		require.Equal(t, mirrorHost, of)
		return Credential{}, nil
	}
	_, _, err := c.Manifest(t.Context(), parse(t, host+"/app"))
	require.ErrorIs(t, err, ErrNotFound)
	mirror.requireNothing(t)
}

func TestRedirectToPlain(t *testing.T) {
	elsewhere := new(spy)
	to := newServer(t, elsewhere)
	encrypted := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+to, http.StatusTemporaryRedirect)
	}))
	defer encrypted.Close()
	err := newClient(t).Ping(t.Context(), strings.TrimPrefix(encrypted.URL, "https://"))
	require.ErrorContains(t, err, "redirect from https to http refused")
	require.Empty(t, elsewhere.seen)
}

func TestMergeScopes(t *testing.T) {
	require.Equal(t, []string{"registry:catalog:*", "repository:a:pull,push", "repository:b:pull"},
		mergeScopes([]string{"repository:a:push,pull", "repository:b:pull", "repository:a:pull", "registry:catalog:*"}))
}
