package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/caisson-engine/caisson/registry"
)

// A passwordFile is a file of Apache's htpasswd, as docker's registry takes them: "user:hash" a line, and hashes by bcrypt
// only (htpasswd -B). It is read anew when it has changed.
type passwordFile struct {
	path      string
	anonymous bool // who shows nobody's password may pull

	mu      sync.Mutex
	as      os.FileInfo // when it was read
	hashes  map[string]string
	decoy   string                     // compared with where a user does not exist, so that the time does not tell
	proved  map[[sha256.Size]byte]bool // passwords that have been right, by a keyed digest: bcrypt takes long
	key     [32]byte
	compute chan struct{} // bounds the processors that wrong passwords can keep busy: to half of them
	rounds  int           // how often a password was computed
}

const (
	maxPasswordFile = 1 << 20
	maxProved       = 1 << 12
	maxCost         = 16 // of a hash: each step doubles the time
)

// nobody is the decoy of a file without users.
const nobody = "$2y$10$C6UzMDM.H6dfI/f/IKcEeO7u8vJ9xHsYjZ7mFqfWcXlV5l3pXhL5i"

func openPasswords(path string, anonymous bool) (*passwordFile, error) {
	p := &passwordFile{path: path, anonymous: anonymous, compute: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(p.key[:]) // never fails
	return p, p.load()
}

// load reads the file, unless it is as it was; the mutex must be held, or nobody else know p.
func (p *passwordFile) load() error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if p.as != nil && os.SameFile(fi, p.as) && fi.ModTime().Equal(p.as.ModTime()) && fi.Size() == p.as.Size() {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPasswordFile+1))
	if err == nil && len(b) > maxPasswordFile {
		err = fmt.Errorf("%s: more than %d bytes", p.path, maxPasswordFile)
	}
	if err != nil {
		return err
	}
	hashes, err := parsePasswords(b)
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	p.as, p.hashes, p.decoy, p.proved = fi, hashes, decoyOf(hashes), map[[sha256.Size]byte]bool{}
	return nil
}

// decoyOf returns a hash of the highest cost among the users', which takes as long as theirs where all have one cost.
func decoyOf(hashes map[string]string) string {
	decoy, most := nobody, 0
	for _, hash := range hashes {
		if cost, _ := bcrypt.Cost([]byte(hash)); cost > most {
			decoy, most = hash, cost
		}
	}
	return decoy
}

func parsePasswords(b []byte) (map[string]string, error) {
	hashes := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		cost, err := bcrypt.Cost([]byte(hash))
		switch {
		case !ok || user == "":
			return nil, fmt.Errorf("line %d: not of the form user:hash", n)
		case err != nil:
			return nil, fmt.Errorf("line %d: the hash of %q is not of bcrypt: make it by htpasswd -B", n, user)
		case cost > maxCost:
			return nil, fmt.Errorf("line %d: the hash of %q has cost %d; at most %d is taken", n, user, cost, maxCost)
		case hashes[user] != "":
			return nil, fmt.Errorf("line %d: user %q is there twice", n, user)
		}
		hashes[user] = hash
	}
	return hashes, lines.Err()
}

// authorize is a registry.Server's. Whoever has a password may do everything.
func (p *passwordFile) authorize(r *http.Request, repository, action string) error {
	user, password, given := r.BasicAuth()
	if !given {
		// /v2/ itself asks for a password even so: it is where docker login finds out whether it is right.
		if p.anonymous && repository != "" && action == registry.ActionPull {
			return nil
		}
		return registry.ErrUnauthorized
	}
	right, err := p.check(r, user, password)
	if err == nil && !right {
		err = registry.ErrUnauthorized
	}
	return err
}

func (p *passwordFile) check(r *http.Request, user, password string) (bool, error) {
	p.mu.Lock()
	err := p.load()
	hash, exists := p.hashes[user]
	decoy := p.decoy
	mac := hmac.New(sha256.New, p.key[:])
	fmt.Fprintf(mac, "%d:%s:%s:%s", len(user), user, hash, password)
	proof := [sha256.Size]byte(mac.Sum(nil))
	proved := p.proved[proof]
	p.mu.Unlock()
	if err != nil || exists && proved {
		return err == nil, err
	}
	if !exists {
		hash = decoy
	}
	select {
	case p.compute <- struct{}{}:
		defer func() { <-p.compute }()
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	p.mu.Lock()
	proved = exists && p.proved[proof] // by another request while this one waited: a client sends several at once
	if !proved {
		p.rounds++
	}
	p.mu.Unlock()
	if proved {
		return true, nil
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !exists {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.proved) >= maxProved {
		clear(p.proved)
	}
	p.proved[proof] = true
	return true, nil
}
