package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/caisson-engine/caisson/internal/testimage"
	"github.com/caisson-engine/caisson/registry"
)

func hashed(t *testing.T, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return string(b)
}

func TestParsePasswords(t *testing.T) {
	good := hashed(t, "x")
	list, err := parsePasswords([]byte("# users\n\nann:" + good + "\r\nbob:" + strings.Replace(good, "$2a$", "$2y$", 1) + "\n"))
	require.NoError(t, err)
	require.Len(t, list, 2)
	for text, says := range map[string]string{
		"ann":                                 "user:hash",
		":" + good:                            "user:hash",
		"ann:plain":                           "htpasswd -B",
		"ann:$apr1$salt$hash":                 "htpasswd -B",
		"ann:" + good + "\nann:" + good:       "twice",
		"ann:$2y$20$" + good[len("$2a$04$"):]: "at most 16",
		"ann:" + strings.Repeat("x", 128<<10): "token too long",
	} {
		_, err := parsePasswords([]byte(text))
		require.ErrorContains(t, err, says)
	}
	cost, err := bcrypt.Cost([]byte(nobody))
	require.NoError(t, err, "what takes the time of a user who does not exist is a hash")
	require.Equal(t, bcrypt.DefaultCost, cost)
	require.Equal(t, nobody, decoyOf(nil))
	dear := strings.Replace(good, "$04$", "$05$", 1)
	require.Equal(t, dear, decoyOf(map[string]string{"ann": good, "bob": dear, "cid": good}), "that of a user takes as long as a user's")
	require.ErrorIs(t, bcrypt.CompareHashAndPassword([]byte(nobody), []byte("x")), bcrypt.ErrMismatchedHashAndPassword)
}

// TestPasswordFile asks with right and wrong passwords, and changes the file.
func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write := func(text string, at time.Time) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	now := time.Now()
	write("ann:"+hashed(t, "secret")+"\n", now)
	ask := func(p *passwordFile, user, password, repository, action string) error {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		return p.authorize(r, repository, action)
	}
	p, err := openPasswords(path, false)
	require.NoError(t, err)
	for range 2 { // the second time it is known
		require.NoError(t, ask(p, "ann", "secret", "app", registry.ActionPush))
		require.ErrorIs(t, ask(p, "ann", "Secret", "app", registry.ActionPush), registry.ErrUnauthorized)
		require.ErrorIs(t, ask(p, "bob", "secret", "app", registry.ActionPull), registry.ErrUnauthorized)
		require.ErrorIs(t, ask(p, "ann", "", "app", registry.ActionPull), registry.ErrUnauthorized)
		require.ErrorIs(t, ask(p, "", "", "app", registry.ActionPull), registry.ErrUnauthorized)
	}
	require.Len(t, p.proved, 1)
	write("ann:"+hashed(t, "changed")+"\n", now.Add(time.Second))
	require.ErrorIs(t, ask(p, "ann", "secret", "app", registry.ActionPull), registry.ErrUnauthorized)
	require.NoError(t, ask(p, "ann", "changed", "app", registry.ActionPull))
	write("nonsense\n", now.Add(2*time.Second))
	err = ask(p, "ann", "changed", "app", registry.ActionPull)
	require.ErrorContains(t, err, "line 1", "a damaged file lets nobody in")
	require.NotErrorIs(t, err, registry.ErrUnauthorized)
	require.NoError(t, os.Remove(path))
	require.Error(t, ask(p, "ann", "changed", "app", registry.ActionPull))

	write("ann:"+hashed(t, "secret")+"\n", now)
	p, err = openPasswords(path, true)
	require.NoError(t, err)
	require.NoError(t, ask(p, "", "", "app", registry.ActionPull))
	require.ErrorIs(t, ask(p, "", "", "app", registry.ActionPush), registry.ErrUnauthorized)
	require.ErrorIs(t, ask(p, "", "", "app", registry.ActionDelete), registry.ErrUnauthorized)
	require.ErrorIs(t, ask(p, "", "", "", registry.ActionPull), registry.ErrUnauthorized)
	require.ErrorIs(t, ask(p, "ann", "wrong", "app", registry.ActionPull), registry.ErrUnauthorized)
}

// TestPasswordAtOnce: of requests that come together, as a docker push sends them, not each computes the password.
func TestPasswordAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(path, []byte("ann:"+hashed(t, "right")+"\n"), 0o600))
	p, err := openPasswords(path, false)
	require.NoError(t, err)
	for range cap(p.compute) {
		p.compute <- struct{}{} // so that all wait for their turn
	}
	const requests = 32
	results := make(chan error, requests)
	for range requests {
		go func() {
			r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
			r.SetBasicAuth("ann", "right")
			results <- p.authorize(r, "", "")
		}()
	}
	for range cap(p.compute) {
		<-p.compute
	}
	for range requests {
		require.NoError(t, <-results)
	}
	require.LessOrEqual(t, p.rounds, cap(p.compute), "the first tell the others")
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r.SetBasicAuth("ann", "wrong")
	require.ErrorIs(t, p.authorize(r, "", ""), registry.ErrUnauthorized)
}

// TestRegistryServeHtpasswd pushes to a registry that asks for a password.
func TestRegistryServeHtpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(path, []byte("ann:"+hashed(t, "secret")), 0o600))
	_, host := startRegistry(t, "-d", t.TempDir(), "--htpasswd", path, "--anonymous-pull")
	image := testimage.New(t, ocispec.ImageConfig{}, testimage.Layer{{Name: "a", Content: []byte("x")}})
	ref, err := registry.ParseReference(host + "/app:v1")
	require.NoError(t, err)
	as := func(user, password string) *registry.Client {
		c := &registry.Client{HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Retries: -1}
		if user != "" {
			c.Credentials = func(context.Context, string) (registry.Credential, error) {
				return registry.Credential{Username: user, Password: password}, nil
			}
		}
		return c
	}
	b := image.Blobs[0]
	upload := func(c *registry.Client) error {
		_, err := c.PushBlob(t.Context(), ref, registry.BlobUpload{Descriptor: b.Descriptor, Content: bytes.NewReader(b.Content)})
		return err
	}
	require.ErrorIs(t, upload(as("", "")), registry.ErrUnauthorized)
	require.ErrorIs(t, upload(as("ann", "wrong")), registry.ErrUnauthorized)
	require.NoError(t, upload(as("ann", "secret")))
	r, err := as("", "").Blob(t.Context(), ref, b.Descriptor)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}
