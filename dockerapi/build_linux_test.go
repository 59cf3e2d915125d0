package dockerapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBuildParameters sets each parameter by itself: it changes what is built, or is refused by its name, or is one of those that cannot
// matter here.
func TestBuildParameters(t *testing.T) {
	read := func(values url.Values) (*building, error) {
		b := &building{server: &Server{}}
		return b, b.read(values)
	}
	plain, err := read(nil)
	require.NoError(t, err)
	values := map[string]string{
		"labels": `{"a":"b"}`, "buildargs": `{"a":"b","c":null}`, "securityopt": `["no-new-privileges"]`, "ulimits": `[{"Name":"nofile","Soft":5,"Hard":6}]`,
		"extrahosts": "a:10.0.0.1", "cpuperiod": "50000", "cpuquota": "20000", "cpushares": "300", "memory": "33554432", "shmsize": "1048576",
		"cachefrom": `["x"]`, "cpusetcpus": "0", "cpusetmems": "0", "platform": "linux/arm64",
	}
	for name := range buildFields {
		value := values[name]
		if value == "" {
			value = "1"
		}
		set := url.Values{name: {value}}
		if name == "memswap" {
			set = url.Values{"memory": {"33554432"}, name: {"67108864"}}
		}
		b, err := read(set)
		switch name {
		case "rm", "forcerm", "buildid", "version":
			require.NoError(t, err, name)
			require.Equal(t, plain.o, b.o, name)
			continue
		case "cachefrom", "squash", "outputs", "session", "remote", "isolation":
			require.ErrorContains(t, err, "not implemented: "+name)
			continue
		}
		require.NoError(t, err, name)
		require.False(t, reflect.DeepEqual(plain.o, b.o) && b.quiet == plain.quiet, "%s changes nothing", name)
	}
	_, err = read(url.Values{"version": {"2"}})
	require.ErrorContains(t, err, "BuildKit")
	_, err = read(url.Values{"other": {"x"}})
	require.ErrorContains(t, err, "not implemented: other")
	for _, name := range []string{"labels", "buildargs", "ulimits", "memory"} {
		_, err = read(url.Values{name: {"{"}})
		require.ErrorContains(t, err, name)
	}
}

func TestBuildCredentials(t *testing.T) {
	b := &building{}
	text, err := json.Marshal(map[string]map[string]string{
		"https://index.docker.io/v1/": {"username": "hub", "password": "p"}, "localhost:5000": {"auth": base64.StdEncoding.EncodeToString([]byte("own:q"))},
	})
	require.NoError(t, err)
	require.NoError(t, b.authorize(base64.URLEncoding.EncodeToString(text)))
	require.Equal(t, "hub", b.credential("alpine").Username)
	require.Equal(t, "own", b.credential("localhost:5000/a").Username)
	require.True(t, new(building).o.Credential == nil)
	require.Empty(t, b.credential("example.com/a").Username)
	require.Error(t, b.authorize("!"))
	require.Error(t, b.authorize(base64.URLEncoding.EncodeToString([]byte("x"))))
}

// TestDockerBuild has the docker command build.
func TestDockerBuild(t *testing.T) {
	p := newPeer(t)
	p.busybox()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("Dockerfile", "FROM busybox AS one\nARG v\nRUN echo $v >/x\nFROM one\nCOPY a /a\nCMD [\"cat\",\"/x\",\"/a\"]\nFROM one AS bad\nRUN exit 9\n")
	write("a", "A\n")
	write(".dockerignore", "secret\n")
	write("secret", "S")
	docker := func(args ...string) (string, string, error) {
		c := p.command(args...)
		c.Env = append(c.Env, "DOCKER_BUILDKIT=0")
		var out, diag strings.Builder
		c.Stdout, c.Stderr = &out, &diag
		err := c.Run()
		return out.String(), diag.String(), err
	}
	out, diag, err := docker("build", "-t", "mine", "--network", "none", "--build-arg", "v=V", "--label", "l=m", "--target", "1", dir)
	require.NoError(t, err, out+diag)
	require.Contains(t, out, "Successfully tagged mine:latest")
	require.Equal(t, "V\nA\n", p.docker("run", "--rm", "--network", "none", "mine"))
	require.Equal(t, "m\n", p.docker("image", "inspect", "-f", "{{.Config.Labels.l}}", "mine"))

	id, diag, err := docker("build", "-q", "--network", "none", "--build-arg", "v=V", "--label", "l=m", "--target", "1", dir)
	require.NoError(t, err, id+diag)
	require.Equal(t, p.docker("image", "inspect", "-f", "{{.Id}}", "mine"), id)

	out, diag, err = docker("build", "--network", "none", dir)
	require.Error(t, err)
	require.Contains(t, diag, "The command '/bin/sh -c exit 9' returned a non-zero code: 9", out)
	_, diag, err = docker("build", "--squash", dir)
	require.Error(t, err)
	require.NotEmpty(t, diag)

	requireError(t, ask(t, p.s, http.MethodPost, "/build?version=2", nil), http.StatusBadRequest, "not implemented: version: builds by BuildKit; set DOCKER_BUILDKIT=0")
	p.docker("builder", "prune", "-f")
	require.Contains(t, p.docker("images"), "mine")
}
