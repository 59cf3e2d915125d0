package engine

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"github.com/caisson-engine/caisson/internal/durable"
	"github.com/caisson-engine/caisson/internal/word"
)

// validName says whether a container may have the name.
func validName(s string) bool { return len(s) > 1 && len(s) < 256 && isName(s) }

// isName says whether s is a letter or a digit that letters, digits, "_", "." and "-" may follow.
func isName(s string) bool { return s != "" && word.Is(s[:1], "", "") && word.Is(s, "_.-", "") }

// newID returns 64 random hexadecimal digits, of which the first twelve are not all decimal: as a hostname they would
// pass for a number.
func newID() string {
	for {
		var b [32]byte
		_, _ = rand.Read(b[:]) // it never fails
		id := hex.EncodeToString(b[:])
		if strings.ContainsAny(id[:12], "abcdef") {
			return id
		}
	}
}

func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// randomName returns an adjective and a surname; after some tries a digit is added.
func randomName(try int) string {
	name := pick(adjectives) + "_" + pick(surnames)
	if try > 0 {
		name += fmt.Sprint(try % 10)
	}
	return name
}

func pick(words []string) string {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
	if err != nil {
		return words[0] // it never fails
	}
	return words[n.Int64()]
}

// claimName gives the name, or a random one if it is empty, to the container. The claim is a file that only one can make.
func (e *Engine) claimName(name, id string) (string, error) {
	if name != "" {
		name, err := e.freeName(name)
		if err != nil {
			return "", err
		}
		if err := e.writeClaim(name, id); errors.Is(err, fs.ErrExist) {
			return "", taken(name, e.claimant(name))
		} else if err != nil {
			return "", err
		}
		return name, nil
	}
	for try := range 100 {
		name = randomName(try)
		if err := e.writeClaim(name, id); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", conflict("no free name was found for the container; give it one")
}

// freeName returns a name without the slash that Docker puts before it, if no container has it now.
func (e *Engine) freeName(name string) (string, error) {
	name = strings.TrimPrefix(name, "/")
	if !validName(name) {
		return "", invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	if owner := e.claimant(name); owner != "" {
		return "", taken(name, owner)
	}
	return name, nil
}

func taken(name, owner string) error {
	return conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) "+
		"that container to be able to reuse that name.", "/"+name, owner)
}

func (e *Engine) writeClaim(name, id string) (err error) {
	path := e.claimPath(name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("claim the name %s: %w", name, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	// A claim that a loss of power took away would let another container have the name.
	_, err = f.WriteString(id)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("claim the name %s: %w", name, err)
	}
	return nil
}

// releaseName gives a container's name back, unless another one has it.
func (e *Engine) releaseName(name, id string) error {
	if e.claimant(name) != id {
		return nil
	}
	if err := os.Remove(e.claimPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(e.claimPath(name)))
}

func (e *Engine) claimPath(name string) string {
	return filepath.Join(e.dir, "containers", "names", name)
}

// claimant returns the ID of the container that has the name, or "".
func (e *Engine) claimant(name string) string {
	if !validName(name) {
		return ""
	}
	b, err := os.ReadFile(e.claimPath(name))
	if err != nil || !isID(string(b)) {
		return ""
	}
	return string(b)
}
