package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	dockerAuthKey     = "https://index.docker.io/v1/" // Docker Hub's name in config.json
	maxConfigSize     = 4 << 20                       // bytes of config.json
	maxHelperAnswer   = 1 << 20                       // bytes
	helperTimeout     = 30 * time.Second
	identityTokenUser = "<token>" // by this user name a credential helper says that the secret is an identity token
)

type dockerConfig struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredsStore  string                `json:"credsStore"`
	CredHelpers map[string]string     `json:"credHelpers"`
}

type dockerAuth struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// DockerCredentials returns a function for Client.Credentials that looks registries up in the config.json that
// `docker login` writes, the credential helpers named there (programs docker-credential-NAME) included. An empty path
// means $DOCKER_CONFIG/config.json, else .docker/config.json in the home directory. The file is read at each
// call, since a login may come in between; when it does not exist every registry is anonymous.
func DockerCredentials(path string) func(ctx context.Context, host string) (Credential, error) {
	return func(ctx context.Context, host string) (Credential, error) {
		config, err := readDockerConfig(path)
		if err != nil {
			return Credential{}, err
		}
		return config.credential(ctx, host)
	}
}

// dockerConfigPath returns where config.json is.
func dockerConfigPath(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json"), nil
}

func readDockerConfig(path string) (*dockerConfig, error) {
	path, err := dockerConfigPath(path)
	if err != nil {
		return &dockerConfig{}, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &dockerConfig{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read registry credentials: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err != nil {
		return nil, fmt.Errorf("read registry credentials: %w", err)
	}
	if len(b) > maxConfigSize {
		return nil, fmt.Errorf("read registry credentials: %s is larger than %d bytes", path, maxConfigSize)
	}
	var config dockerConfig
	if err := json.Unmarshal(b, &config); err != nil {
		// The decoder's error may quote the file, which holds secrets.
		return nil, fmt.Errorf("read registry credentials: %s is not a Docker configuration", path)
	}
	return &config, nil
}

func (d *dockerConfig) credential(ctx context.Context, host string) (Credential, error) {
	key := host
	if host == dockerHost {
		key = dockerAuthKey
	}
	if helper := d.CredHelpers[host]; helper != "" {
		return askHelper(ctx, helper, key)
	}
	if helper := d.CredHelpers[key]; helper != "" {
		return askHelper(ctx, helper, key)
	}
	if d.CredsStore != "" {
		c, err := askHelper(ctx, d.CredsStore, key)
		if err != nil || !c.IsZero() {
			return c, err
		}
	}
	auth, ok := d.Auths[key]
	if !ok {
		// Old versions wrote the key as a URL, or with a path.
		for name, a := range d.Auths {
			if name != dockerAuthKey && hostOfKey(name) == host {
				auth, ok = a, true
			}
		}
	}
	if !ok {
		return Credential{}, nil
	}
	return auth.credential(host)
}

func hostOfKey(key string) string {
	if _, after, ok := strings.Cut(key, "://"); ok {
		key = after
	}
	host, _, _ := strings.Cut(key, "/")
	return host
}

func (a dockerAuth) credential(host string) (Credential, error) {
	c := Credential{a.Username, a.Password, a.IdentityToken, a.RegistryToken}
	if a.Auth == "" {
		return c, nil
	}
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return Credential{}, fmt.Errorf("credential of registry %s: \"auth\" is not base64; log in again", host)
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return Credential{}, fmt.Errorf("credential of registry %s: \"auth\" is not user:password; log in again", host)
	}
	c.Username, c.Password = user, strings.Trim(password, "\x00")
	return c, nil
}

// askHelper runs docker-credential-<name> get, which reads the server's name and answers with JSON.
func askHelper(ctx context.Context, name, server string) (Credential, error) {
	if name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
		return Credential{}, fmt.Errorf("credential helper %q: not a plain name", name)
	}
	program := "docker-credential-" + name
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var stdout, stderr cappedBuffer
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(server), &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stdout.b.String() + " " + stderr.b.String())
		if strings.Contains(said, "credentials not found") {
			return Credential{}, nil
		}
		return Credential{}, fmt.Errorf("credential helper %s: %w: %s", program, err, printable(said))
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(stdout.b.Bytes(), &answer); err != nil {
		return Credential{}, fmt.Errorf("credential helper %s: its answer is not JSON", program)
	}
	if answer.Username == identityTokenUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// A cappedBuffer is a buffer that refuses to grow beyond maxHelperAnswer.
type cappedBuffer struct{ b bytes.Buffer }

func (c *cappedBuffer) Write(p []byte) (int, error) {
	if c.b.Len()+len(p) > maxHelperAnswer {
		return 0, errors.New("answer is too long")
	}
	return c.b.Write(p)
}
