package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caisson-engine/caisson/internal/durable"
)

// SaveDockerCredential keeps a registry's credential as docker login does: by the credential helper that config.json
// names for the host or for all, else in config.json itself, encoded but not encrypted, readable by its owner alone.
// What else the file holds stays. path is as for DockerCredentials; host as references name it.
func SaveDockerCredential(ctx context.Context, path, host string, cred Credential) error {
	err := changeDockerConfig(ctx, path, host, func(d *dockerFile) error {
		if helper := d.helper(host); helper != "" {
			if cred.RegistryToken != "" {
				return fmt.Errorf("credential helper %q keeps no registry token: %w", helper, errors.ErrUnsupported)
			}
			answer := map[string]string{"ServerURL": dockerKey(host), "Username": cred.Username, "Secret": cred.Password}
			if cred.IdentityToken != "" {
				answer["Username"], answer["Secret"] = identityTokenUser, cred.IdentityToken
			}
			b, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			d.auths[dockerKey(host)] = json.RawMessage("{}") // as docker does, to know that there is one
			return tellHelper(ctx, helper, "store", b)
		}
		a := dockerAuth{IdentityToken: cred.IdentityToken, RegistryToken: cred.RegistryToken}
		if cred.Username != "" {
			a.Auth = base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password))
		}
		b, err := json.Marshal(a)
		d.auths[dockerKey(host)] = b
		return err
	})
	if err != nil {
		return fmt.Errorf("save credential of registry %s: %w", host, err)
	}
	return nil
}

// EraseDockerCredential forgets what SaveDockerCredential kept. A host that there is nothing of is no error; found says
// whether there was.
func EraseDockerCredential(ctx context.Context, path, host string) (found bool, err error) {
	err = changeDockerConfig(ctx, path, host, func(d *dockerFile) error {
		for key := range d.auths {
			if key == dockerKey(host) || key != dockerAuthKey && hostOfKey(key) == host {
				delete(d.auths, key)
				found = true
			}
		}
		if helper := d.helper(host); helper != "" {
			return tellHelper(ctx, helper, "erase", []byte(dockerKey(host)))
		}
		return nil
	})
	if err != nil {
		return found, fmt.Errorf("erase credential of registry %s: %w", host, err)
	}
	return found, nil
}

func dockerKey(host string) string {
	if host == dockerHost {
		return dockerAuthKey
	}
	return host
}

// A dockerFile is config.json with all that is in it.
type dockerFile struct {
	all   map[string]json.RawMessage
	auths map[string]json.RawMessage
	dockerConfig
}

func (d *dockerFile) helper(host string) string {
	for _, h := range []string{d.CredHelpers[host], d.CredHelpers[dockerKey(host)], d.CredsStore} {
		if h != "" {
			return h
		}
	}
	return ""
}

// changeDockerConfig rewrites config.json. A link to it stays one.
func changeDockerConfig(ctx context.Context, path, host string, change func(*dockerFile) error) error {
	if !validHost(host) {
		return fmt.Errorf("%w: registry host %q", ErrInvalidReference, printable(host))
	}
	path, err := dockerConfigPath(path)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Another login may be at it. (Docker's own knows no lock.)
	lock, err := durable.Acquire(ctx, path+".lock", true)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err == nil {
		defer func() { _ = lock.Remove() }()
	}
	d := &dockerFile{all: map[string]json.RawMessage{}, auths: map[string]json.RawMessage{}}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		err = json.Unmarshal(b, &d.all)
		if err == nil {
			err = json.Unmarshal(b, &d.dockerConfig)
		}
		if a := d.all["auths"]; err == nil && len(a) > 0 {
			err = json.Unmarshal(a, &d.auths)
		}
		if err != nil || d.all == nil {
			return fmt.Errorf("%s is not a Docker configuration", path) // an error may quote the file, which holds secrets
		}
	}
	if d.auths == nil {
		d.auths = map[string]json.RawMessage{}
	}
	if err := change(d); err != nil {
		return err
	}
	if d.all["auths"], err = json.Marshal(d.auths); err != nil {
		return err
	}
	out, err := json.MarshalIndent(d.all, "", "\t")
	if err != nil || bytes.Equal(out, bytes.TrimSpace(b)) {
		return err
	}
	return durable.WriteFile(path, append(out, '\n'), 0o600)
}

// tellHelper runs docker-credential-<name> with a verb that has no answer.
func tellHelper(ctx context.Context, name, verb string, input []byte) error {
	if name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
		return fmt.Errorf("credential helper %q: not a plain name", name)
	}
	program := "docker-credential-" + name
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var said cappedBuffer
	cmd := exec.CommandContext(ctx, program, verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && (verb != "erase" || !strings.Contains(said.b.String(), "credentials not found")) {
		return fmt.Errorf("credential helper %s: %w: %s", program, err, printable(strings.TrimSpace(said.b.String())))
	}
	return nil
}
