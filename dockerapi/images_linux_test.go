package dockerapi

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/caisson-engine/caisson/engine"
	"github.com/caisson-engine/caisson/registry"
)

// TestDockerImages: the docker command lists, shows, names and removes images, and says why one is not removed.
func TestDockerImages(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("tag", "busybox", "mine:1")
	require.ElementsMatch(t, []string{"busybox:latest", "mine:1"}, // the command's order is a map's
		strings.Fields(p.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=busybox", "--filter", "reference=mine")))
	require.Equal(t, "mine\n", p.docker("images", "--format", "{{.Repository}}", "mine"))
	require.Empty(t, p.docker("images", "-q", "--filter", "dangling=true"))
	require.Contains(t, p.fails(1, "images", "--filter", "nosuch=1"), "invalid filter 'nosuch'")
	img, err := p.e.Image(t.Context(), "mine:1")
	require.NoError(t, err)
	require.Contains(t, p.docker("images", "--digests", "--no-trunc", "mine"), img.ID.String())
	require.Contains(t, p.docker("images", "--digests", "mine"), img.Digest.String())
	require.Equal(t, img.ID.String()+" linux [sh]\n", p.docker("image", "inspect", "--format", "{{.Id}} {{.Os}} {{.Config.Cmd}}", "mine:1"))
	require.Contains(t, p.docker("image", "ls", "--tree", "mine"), "linux/")
	require.Contains(t, p.docker("history", "mine:1"), img.ID.Encoded()[:12])
	require.Contains(t, p.fails(1, "image", "inspect", "nothing"), "No such image: nothing")
	require.Contains(t, p.fails(1, "tag", "nothing", "x"), "No such image: nothing:latest")
	require.Contains(t, p.fails(1, "tag", "mine:1", "x@"+img.Digest.String()), "refusing to create a tag with a digest reference")
	require.Contains(t, p.fails(1, "rmi", "nothing"), "No such image: nothing:latest")
	require.Contains(t, p.fails(1, "rmi", img.ID.Encoded()[:12]), "(must be forced) - image is referenced in multiple repositories")

	require.Equal(t, "Untagged: mine:1\n", p.docker("rmi", "mine:1"))
	require.Contains(t, p.docker("rmi", "-f", img.ID.Encoded()[:12]), "Deleted: "+img.ID.String())
	require.Empty(t, p.docker("images", "-q"))
}

// TestDockerArchives: images go out and come in as archives; containers and root file systems become images.
func TestDockerArchives(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	p.docker("tag", "busybox", "mine:1")
	id := p.docker("images", "-q", "--no-trunc", "mine")
	dir := t.TempDir()
	tar := filepath.Join(dir, "images.tar")
	p.docker("save", "-o", tar, "mine:1", "busybox")
	require.Contains(t, p.fails(1, "save", "-o", filepath.Join(dir, "no.tar"), "nothing"), "No such image: nothing:latest")
	require.Contains(t, p.fails(1, "save", "--platform", "linux/s390x", "-o", filepath.Join(dir, "no.tar"), "mine:1"), "No such image")
	p.docker("rmi", "-f", strings.TrimSpace(id))
	out := p.docker("load", "-i", tar)
	require.Contains(t, out, "Loaded image: mine:1\n")
	require.Contains(t, out, "Loaded image: busybox:latest\n")
	require.Equal(t, id, p.docker("images", "-q", "--no-trunc", "mine"))
	require.Contains(t, p.fails(1, "load", "-i", os.Args[0]), "load: ")
	require.Contains(t, p.fails(1, "load", "--platform", "linux/s390x", "-i", tar), "no image for platform linux/s390x; there is: linux/")
	require.Contains(t, p.docker("load", "--platform", "linux/"+runtime.GOARCH, "-i", tar), "Loaded image: mine:1\n")

	// Of the image's root file system another image, from standard input and from an address.
	c, err := p.e.Create(t.Context(), &engine.Config{Image: "busybox"})
	require.NoError(t, err)
	var rootfs bytes.Buffer
	require.NoError(t, p.e.Export(t.Context(), c.ID, &rootfs))
	cmd := p.command("import", "--change", `CMD ["sh", "-c", "true"]`, "--message", "by hand", "-", "flat:1")
	cmd.Stdin = bytes.NewReader(rootfs.Bytes())
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
	require.Equal(t, p.docker("images", "-q", "--no-trunc", "flat:1"), string(b))
	require.Equal(t, "[sh -c true] by hand\n", p.docker("image", "inspect", "--format", "{{.Config.Cmd}} {{.Comment}}", "flat:1"))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/rootfs.tar" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(rootfs.Bytes())
	}))
	defer web.Close()
	require.Contains(t, p.docker("import", web.URL+"/rootfs.tar", "flat:2"), "sha256:")
	require.Contains(t, p.docker("image", "inspect", "--format", "{{.Comment}}", "flat:2"), "Imported from http://127.0.0.1")
	require.Contains(t, p.fails(1, "import", web.URL+"/none", "flat:3"), "404 Not Found")

	// Of the container an image.
	id = p.docker("commit", "--author", "me", "--message", "changed", "--change", "ENV a=b", c.ID, "made:1")
	require.Equal(t, "me changed [a=b]\n", p.docker("image", "inspect", "--format", "{{.Author}} {{.Comment}} {{.Config.Env}}", strings.TrimSpace(id)))
	require.Contains(t, p.fails(1, "commit", "nobody"), "No such container: nobody")
	require.Contains(t, p.fails(1, "commit", "--change", "RUN x", c.ID), "RUN")
	events := p.docker("events", "--since", "1h", "--until", time.Now().Format(time.RFC3339Nano), "--filter", "type=image", "--format", "{{.Action}}")
	for _, action := range []string{"pull", "tag", "save", "untag", "delete", "load", "import"} {
		require.Contains(t, strings.Fields(events), action)
	}
	require.Contains(t, p.fails(1, "rmi", "busybox", "mine:1"), "container "+c.ShortID()+" is using its referenced image")
}

// TestDockerRegistry: the docker command pulls from and pushes to a registry that asks for a password, which it gives to the server with
// each request and which the server keeps nowhere.
func TestDockerRegistry(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	server := httptest.NewServer(&registry.Server{Authorize: func(r *http.Request, _, _ string) error {
		if name, password, _ := r.BasicAuth(); name == "u" && password == "secret" {
			return nil
		}
		return registry.ErrUnauthorized
	}})
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	require.Contains(t, p.fails(1, "push", host+"/app:1"), "An image does not exist locally with the tag: "+host+"/app")
	p.docker("tag", "busybox", host+"/app:1")
	require.Contains(t, p.fails(1, "push", host+"/app:1"), "authentication required")
	require.Contains(t, p.fails(1, "pull", host+"/app:1"), "pull access denied for "+host+"/app, repository does not exist or may require 'docker login'")
	require.Contains(t, p.fails(1, "login", "-u", "u", "-p", "wrong", host), "authentication required")
	require.Contains(t, p.docker("login", "-u", "u", "-p", "secret", host), "Login Succeeded")

	out := p.docker("push", host+"/app:1")
	require.Contains(t, out, "The push refers to repository ["+host+"/app]")
	require.Contains(t, out, ": Pushed\n")
	require.Regexp(t, `1: digest: sha256:[0-9a-f]{64} size: [1-9][0-9]+\n`, out)
	p.docker("tag", "busybox", host+"/app:2")
	require.Regexp(t, `(?s)1: digest: .*2: digest: `, p.docker("push", "--all-tags", host+"/app"))
	require.Equal(t, host+"/app:1\n", p.docker("push", "-q", host+"/app:1"))

	p.docker("rmi", host+"/app:1", host+"/app:2")
	p.docker("rmi", "-f", strings.TrimSpace(p.docker("images", "-q", "busybox")))
	out = p.docker("pull", host+"/app:1")
	require.Contains(t, out, "1: Pulling from app\n")
	require.Contains(t, out, ": Pull complete\n")
	require.Contains(t, out, "Status: Downloaded newer image for "+host+"/app:1\n")
	require.Contains(t, p.docker("pull", host+"/app:1"), "Status: Image is up to date for "+host+"/app:1\n")
	require.Contains(t, p.docker("pull", "-a", host+"/app"), "2: Pulling from app\n")
	digest := strings.TrimPrefix(strings.TrimSpace(p.docker("images", "--format", "{{.Digest}}", host+"/app:1")), "sha256:")
	p.docker("pull", host+"/app@sha256:"+digest)
	require.Contains(t, p.fails(1, "pull", host+"/app:3"), "manifest for "+host+"/app:3 not found: manifest unknown")
	require.Contains(t, p.fails(1, "pull", "--platform", "linux/s390x", host+"/app:1"), "no matching manifest for linux/s390x in the manifest list entries")

	// A build shows the password to the registry of the image that it begins with (X-Registry-Config), and not without the login.
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM "+host+"/app:1\nLABEL of=private\n"), 0o600))
	build := func() (string, error) {
		p.docker("rmi", "-f", strings.TrimSpace(p.docker("images", "-q", host+"/app:1")))
		c := p.command("build", "-t", "built", dir)
		c.Env = append(c.Env, "DOCKER_BUILDKIT=0")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := build()
	require.NoError(t, err, out)
	require.Contains(t, p.docker("images", "-q", host+"/app:1"), "\n")
	p.docker("logout", host)
	out, err = build()
	require.Error(t, err)
	require.Contains(t, out, "authentication required")

	get := func(path, auth string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://docker"+path, nil)
		require.NoError(t, err)
		r.Header.Set("X-Registry-Auth", auth)
		a, err := p.client().Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { _ = a.Body.Close() })
		return a
	}
	path := "/v1.44/distribution/" + host + "/app:1/json"
	const good, elsewhere = `eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InNlY3JldCJ9`, // without and with the address of another registry
		`eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InNlY3JldCIsInNlcnZlcmFkZHJlc3MiOiJvdGhlci5leGFtcGxlIn0=`
	require.Equal(t, http.StatusOK, get(path, good).StatusCode)
	require.Equal(t, http.StatusBadRequest, get(path, elsewhere).StatusCode)
	require.Equal(t, http.StatusNotFound, get(path, "").StatusCode)
	require.Contains(t, p.fails(1, "search", "x"), "not implemented: search of registries")
}

// TestDockerHangUp: a client that goes away ends the pull, and nothing half done is to be seen.
func TestDockerHangUp(t *testing.T) {
	p := newPeer(t)
	begun, ended := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	}))
	defer server.Close()
	cmd := p.command("pull", strings.TrimPrefix(server.URL, "http://")+"/app:1")
	require.NoError(t, cmd.Start())
	<-begun
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	<-ended // the server has hung up, too
	require.Empty(t, p.docker("images", "-q"))
}

// TestDockerAbsent: what is not there is said to be not there.
func TestDockerAbsent(t *testing.T) {
	p := newPeer(t)
	for _, args := range [][]string{{"swarm", "init"}, {"service", "ls"}, {"secret", "ls"}, {"config", "ls"}, {"stack", "ls"}, {"plugin", "disable", "x"}} {
		require.Contains(t, p.fails(1, args...), "not implemented", args)
	}
}
